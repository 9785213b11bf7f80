"""Partitions on Dask: bounded in flight, tried again, and split where one of them kills its worker.

Who waits for results, of partitions or of single calls, gives up where it is not worth waiting any longer.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

import pyarrow as pa
from distributed import Future, KilledWorker, wait

from lookalike.data.errors import ClusterLostError, RunTimeoutError, StoreUnavailableError
from lookalike.data.partitioned import slices
from lookalike.data.stores.retry import Backoff
from lookalike.flows.runtime.cluster import Cluster
from lookalike.flows.runtime.progress import run_log

IN_FLIGHT_PER_WORKER = 3  # one computes, one waits, one is on its way
RETRIES = 2
SPLIT_INTO = 8
STORE_TRIES = 6
STORE_BACKOFF = Backoff(2.0, longest=60.0)  # two minutes in all, or one at least: a store may be away so long
LOOK_SECONDS = 2.0
FETCH_SECONDS = 15.0

Result = TypeVar("Result")


class Partition:
    """Some rows, under a name for logs; `tries` counts how often the store was away."""

    def __init__(self, name: str, rows: pa.Table, tries: int = 0) -> None:
        self.name = name
        self.rows = rows
        self.tries = tries

    def split(self) -> list[Partition]:
        """Return the parts of it to look at one by one."""
        size = -(-self.rows.num_rows // SPLIT_INTO)
        return [Partition(f"{self.name}.{i}", part) for i, part in enumerate(slices(self.rows, size))]


def map_partitions(
    cluster: Cluster,
    function: Callable[[pa.Table], Result],
    partitions: Iterator[Partition],
    *,
    on_poison: Callable[[pa.Table], Result],
    columns: Sequence[str],
    deadline: float | None = None,
    resources: dict[str, float] | None = None,
) -> Iterator[tuple[Partition, Result]]:
    """Run `function` on the rows of each partition; yield the partition and its result, as they finish.

    Only a few partitions for each worker are under way at once, and `partitions` is read no faster. A cluster is only
    asked for where there is one. Those that were on workers that died are run again when the others are done, one at
    a time, so that none is blamed for another; one that kills its worker alone is split, down to the single row that
    does it, for which `on_poison` answers. One that finds the store away waits for it. Other errors are raised after
    RETRIES.

    Args:
        columns: that `function` needs to see.
        deadline: on the monotonic clock.
        resources: of Dask, that a worker must have.

    Raises:
        ClusterLostError: there is no worker, and none came while the cluster's patience lasted.
        RunTimeoutError: the deadline has passed.
    """
    first = next(partitions, None)
    if first is None:
        return
    work = _Work(cluster, function, list(columns), resources or {})
    watch = Watch(cluster, deadline)
    try:
        work.submit(first)
        while True:
            while work.has_room(watch.workers) and (following := next(partitions, None)) is not None:
                work.submit(following)
            if not work.is_going_on and not work.submit_suspect():
                return
            watch.look()
            for partition, future in work.finished():
                yield from _outcome(work, partition, future, on_poison)
    finally:
        work.cancel()  # the caller gave up: so does the cluster


def _outcome(
    work: _Work[Result], partition: Partition, future: Future, on_poison: Callable[[pa.Table], Result]
) -> Iterator[tuple[Partition, Result]]:
    try:
        yield partition, future.result(timeout=FETCH_SECONDS)
    except TimeoutError:  # it was done, and its worker died before the result was fetched: it is computed again
        work.go_on(partition, future)
    except KilledWorker:
        run_log(__name__).warning(
            "partition %s (%s rows) was on workers that died", partition.name, f"{partition.rows.num_rows:,}"
        )
        work.retried()
        if not work.is_alone:
            work.suspect([partition])
        elif partition.rows.num_rows > 1:
            work.suspect(partition.split())
        else:
            yield partition, on_poison(partition.rows)
    except StoreUnavailableError as error:
        if partition.tries == STORE_TRIES:
            raise
        seconds = STORE_BACKOFF.seconds(partition.tries + 1)
        work.retried()
        run_log(__name__).warning("partition %s waits %.1f s for the store: %s", partition.name, seconds, error)
        work.submit_later(Partition(partition.name, partition.rows, partition.tries + 1), seconds)


class _Work(Generic[Result]):
    """What is under way on the cluster, and what waits to be."""

    def __init__(
        self,
        cluster: Cluster,
        function: Callable[[pa.Table], Result],
        columns: list[str],
        resources: dict[str, float],
    ) -> None:
        self._cluster = cluster
        self._client = cluster.client
        self._function = function
        self._columns = columns
        self._resources = resources
        self._under_way: dict[Future, Partition] = {}
        self._later: list[tuple[float, int, Partition]] = []
        self._suspects: deque[Partition] = deque()
        self.is_alone = False

    @property
    def is_going_on(self) -> bool:
        return bool(self._under_way or self._later)

    def has_room(self, workers: int) -> bool:
        return len(self._under_way) + len(self._later) < IN_FLIGHT_PER_WORKER * max(workers, 1)

    def submit(self, partition: Partition) -> None:
        rows = partition.rows.select(self._columns)
        more: dict[str, Any] = {"resources": self._resources} if self._resources else {}
        future = self._client.submit(self._function, rows, pure=False, retries=RETRIES, **more)
        self._under_way[future] = partition

    def retried(self) -> None:
        self._cluster.partitions_retried += 1

    def submit_later(self, partition: Partition, seconds: float) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, id(partition), partition))

    def suspect(self, partitions: Sequence[Partition]) -> None:
        self._suspects.extend(partitions)

    def submit_suspect(self) -> bool:
        """Run the next one that was on a worker that died, alone; tell whether there is one."""
        self.is_alone = bool(self._suspects)
        if self.is_alone:
            self.submit(self._suspects.popleft())
        return self.is_alone

    def go_on(self, partition: Partition, future: Future) -> None:
        self._under_way[future] = partition

    def finished(self) -> list[tuple[Partition, Future]]:
        """Wait a little for what is under way; return what is done."""
        while self._later and self._later[0][0] <= time.monotonic():
            self.submit(heapq.heappop(self._later)[2])
        if not self._under_way:
            time.sleep(min(LOOK_SECONDS, max(0.0, self._later[0][0] - time.monotonic())))
            return []
        try:
            done = wait(list(self._under_way), timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return []
        return [(self._under_way.pop(future), future) for future in done]

    def cancel(self) -> None:
        if self._under_way:
            self._client.cancel(list(self._under_way))


def gather(
    cluster: Cluster,
    futures: Sequence[Future],
    deadline: float | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Any]:
    """Return the results of some futures, watching the cluster and the time as `map_partitions` does.

    Args:
        advance: is told now and then how many more are done.
    """
    watch, told = Watch(cluster, deadline), 0
    try:
        while True:
            watch.look()
            with suppress(TimeoutError):
                wait(list(futures), timeout=LOOK_SECONDS)
                results = [future.result(timeout=FETCH_SECONDS) for future in futures]
                advance(len(futures) - told)
                return results
            if (done := sum(future.done() for future in futures)) > told:
                advance(done - told)
                told = done
    finally:
        cluster.client.cancel([future for future in futures if not future.done()])


class Watch:
    """Looks now and then whether it is worth going on."""

    def __init__(self, cluster: Cluster, deadline: float | None) -> None:
        self._cluster = cluster
        self._deadline = deadline
        self._looked = self._seen = time.monotonic()
        self.workers = cluster.worker_count()

    def look(self) -> None:
        """Look at the time and at the workers.

        Raises:
            ClusterLostError: there is no worker, and none came while the cluster's patience lasted.
            RunTimeoutError: the deadline has passed.
        """
        now = time.monotonic()
        if self._deadline is not None and now > self._deadline:
            raise RunTimeoutError(
                "the run took longer than it may: give it more time, more workers or a smaller change"
            )
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self.workers = self._cluster.worker_count()
        if self.workers:
            self._seen = now
        elif now - self._seen > self._cluster.patience_seconds:
            raise ClusterLostError(
                f"the Dask cluster has had no worker for {now - self._seen:.0f} s: start workers, then run again; "
                "what was embedded is kept"
            )
