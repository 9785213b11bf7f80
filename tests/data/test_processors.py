from __future__ import annotations

import os
from pathlib import Path

import pytest

from lookalike.data.processors import count_processors


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        file = root / name.replace("__", "/").replace("_max", ".max")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("quota", "count"),
    [("max 100000", 8), ("300000 100000", 3), ("150000 100000", 2), ("5000 100000", 1), ("1600000 100000", 8)],
)
def test_a_control_group_bounds_them(tmp_path: Path, quota: str, count: int) -> None:
    write(tmp_path, proc__self__cgroup="0::/\n", sys__fs__cgroup__cpu_max=quota + "\n")
    assert count_processors(tmp_path) == count


def test_the_least_of_the_groups_around_it_counts(tmp_path: Path) -> None:
    """Kubernetes limits a pod, and each of its containers."""
    group = "sys__fs__cgroup__pods__"
    files = {"proc__self__cgroup": "1:name=x:/\n0::/pods/one\n", group + "cpu_max": "200000 100000"}
    write(tmp_path, **files, **{group + "one__cpu_max": "400000 100000"})
    assert count_processors(tmp_path) == 2


@pytest.mark.parametrize(("quota", "count"), [("-1", 8), ("250000", 3)])
def test_groups_of_version_1(tmp_path: Path, quota: str, count: int) -> None:
    folder = tmp_path / "sys/fs/cgroup/cpu"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(quota + "\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert count_processors(tmp_path) == count


def test_without_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert count_processors(tmp_path) == 8
