"""Processors that this process may use: those of the machine, of its affinity, and of its control group."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_QUOTAS = ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")  # of a container's root, where groups are of version 1


def count_processors(root: Path = Path("/")) -> int:
    """Return how many there are, at least one. A share of a processor counts as one.

    Python counts what the affinity allows, but not what `docker run --cpus` or a limit of Kubernetes does: threads for
    all cores of the node would then stop each other. `root` is where `proc` and `sys` are.
    """
    return min([len(os.sched_getaffinity(0)), *(max(1, math.ceil(quota)) for quota in _quotas(root))])


def _quotas(root: Path) -> Iterator[float]:
    """Yield what each control group that holds this process allows, in processors."""
    for folder in _groups(root):
        words = _read(folder / "cpu.max").split()
        if len(words) == 2 and words[0] != "max":
            yield int(words[0]) / int(words[1])
    quota, period = (_read(root / "sys/fs/cgroup" / name).strip() for name in _QUOTAS)
    if quota and period and int(quota) > 0:
        yield int(quota) / int(period)


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folder of this process's group of version 2 and of all groups around it: the least quota counts."""
    mounted = root / "sys/fs/cgroup"
    path = next((line[3:] for line in _read(root / "proc/self/cgroup").splitlines() if line.startswith("0::")), "/")
    group = mounted / path.strip("/")
    yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mounted))


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
