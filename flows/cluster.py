"""The Dask cluster a run computes on: a running one by setting, else one of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster

from flows.settings import BatchSettings

CONNECT_SECONDS = 30


@contextmanager
def dask_client(settings: BatchSettings) -> Iterator[Client]:
    """Yield a client of the cluster; one that was started here is stopped at the end."""
    if settings.dask_scheduler_address:
        with Client(settings.dask_scheduler_address, timeout=CONNECT_SECONDS) as client:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            yield client
        return
    workers = settings.batch_workers or os.cpu_count() or 1
    with (
        # a worker that died is started again however long that takes: by default a busy machine loses it for good
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}),
        # one thread each: the encoder and FAISS use the cores themselves, and Python code does not share one
        LocalCluster(
            n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def worker_threads(client: Client) -> int:
    """Return how many threads a worker may compute with."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return min(int(worker["nthreads"]) for worker in workers)


def worker_count(client: Client) -> int:
    """Return how many workers there are."""
    return len(client.scheduler_info(n_workers=-1)["workers"])
