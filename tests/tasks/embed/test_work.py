"""Partitions of pictures: of a fair size for each worker, and smaller where pictures are large."""

from __future__ import annotations

import pytest

from lookalike.tasks.embed.work import ASSUMED_BYTES, partition_size, size_of_version


@pytest.mark.parametrize(
    ("pictures", "workers", "size"),
    [(1, 2, 32), (1_520, 2, 95), (100_000, 2, 1024), (100_000, 200, 63), (10_000_000, 8, 1024), (1000, 0, 125)],
)
def test_a_worker_takes_a_fair_part(pictures: int, workers: int, size: int) -> None:
    assert partition_size(pictures, workers, 1024) == size


def test_a_setting_bounds_it() -> None:
    assert partition_size(100_000, 2, 8) == 8


@pytest.mark.parametrize(
    ("version", "size"),
    [("1234-1795376125996662900", 1234), ("77-abcdef", 77), (None, ASSUMED_BYTES), ('"etag-1"', ASSUMED_BYTES)],
)
def test_a_version_says_the_size_of_files_and_objects(version: str | None, size: int) -> None:
    assert size_of_version(version) == size
