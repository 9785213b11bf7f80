"""Partitions on Dask: bounded in flight, tried again, and split where one of them kills its worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from distributed import Client, Future, KilledWorker, as_completed

from flows.cluster import worker_count

IN_FLIGHT_PER_WORKER = 3  # one computes, one waits, one is on its way
RETRIES = 2
KILLED = "the worker died on this picture, again and again; look at the picture and at the worker's memory limit"

Item = TypeVar("Item")
Result = TypeVar("Result")


def cut(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Cut a sequence into partitions of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def map_partitions(
    client: Client,
    function: Callable[[Sequence[Item]], Result],
    partitions: Iterable[Sequence[Item]],
    *,
    on_poison: Callable[[Item], Result],
) -> Iterator[tuple[int, Result]]:
    """Run `function` on each partition; yield the number of its items and its result, as they finish.

    Only a few partitions for each worker are under way at once. A partition that kills its workers is split, down
    to the single item that does it, for which `on_poison` answers. Other errors are raised after RETRIES tries.
    """
    waiting = iter(partitions)
    under_way: dict[Future, Sequence[Item]] = {}
    completed = as_completed()

    def submit(partition: Sequence[Item]) -> None:
        future = client.submit(function, partition, pure=False, retries=RETRIES)
        under_way[future] = partition
        completed.add(future)

    def submit_next() -> None:
        partition = next(waiting, None)
        if partition is not None:
            submit(partition)

    for _ in range(IN_FLIGHT_PER_WORKER * worker_count(client)):
        submit_next()
    try:
        for future in completed:
            partition = under_way.pop(future)
            try:
                yield len(partition), future.result()
            except KilledWorker:
                if len(partition) == 1:
                    yield 1, on_poison(partition[0])
                else:
                    for half in cut(partition, (len(partition) + 1) // 2):
                        submit(half)
            future.release()
            submit_next()
    finally:
        client.cancel(list(under_way))  # the caller gave up: so does the cluster
