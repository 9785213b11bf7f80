"""Gather results from the cluster, and give up where it is not worth waiting any longer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from distributed import Future, wait

from lookalike.data.errors import ClusterLostError, RunTimeoutError
from lookalike.flows.runtime.cluster import Cluster

LOOK_SECONDS = 2.0
FETCH_SECONDS = 15.0


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
