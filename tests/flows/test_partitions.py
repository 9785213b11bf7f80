"""Partitions on a real cluster: every item once, errors raised, and a killer found out."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence

import pytest
from distributed import Client

from flows.cluster import dask_client
from flows.partitions import cut, map_partitions
from flows.settings import BatchSettings

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with dask_client(BatchSettings(DASK_SCHEDULER_ADDRESS=None, batch_workers=2)) as client:
        yield client


def doubled(items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


def failing(items: Sequence[int]) -> list[int]:
    if 3 in items:
        raise ValueError("three")
    return list(items)


def killing(items: Sequence[int]) -> list[int]:
    if 5 in items:
        os.kill(os.getpid(), signal.SIGKILL)
    return list(items)


def no_poison(item: int) -> list[int]:
    raise AssertionError(item)


def test_yields_each_partition_once(client: Client) -> None:
    done = list(map_partitions(client, doubled, cut(range(25), 4), on_poison=no_poison))
    assert sorted(item for _, part in done for item in part) == list(range(0, 50, 2))
    assert sum(count for count, _ in done) == 25


def test_nothing_to_do(client: Client) -> None:
    assert list(map_partitions(client, doubled, [], on_poison=no_poison)) == []


def test_an_error_reaches_the_caller(client: Client) -> None:
    with pytest.raises(ValueError, match="three"):
        list(map_partitions(client, failing, cut(range(8), 2), on_poison=no_poison))


@pytest.mark.slow
def test_a_picture_that_kills_its_worker_is_found_and_the_others_are_done(client: Client) -> None:
    done = list(map_partitions(client, killing, cut(range(8), 4), on_poison=lambda item: [-item]))
    assert sorted(item for _, part in done for item in part) == [-5, 0, 1, 2, 3, 4, 6, 7]
