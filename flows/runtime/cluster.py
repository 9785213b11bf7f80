"""The Dask cluster a run computes on: a running one by setting, else one of its own, and only if there is work."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

import dask
from distributed import Client, LocalCluster, Worker, WorkerPlugin

from lookalike.data.errors import ClusterLostError
from lookalike.data.processors import count_processors
from lookalike.flows.runtime.settings import BatchSettings

CONNECT_SECONDS = 15
_OWN = {
    # a worker that died is started again however long that takes: by default a busy machine loses it for good
    "distributed.deploy.lost-worker-timeout": "1 day",
    # what was on two workers that died is looked at in parts: by default it takes four, and each a few seconds
    "distributed.scheduler.allowed-failures": 1,
}


class Cluster:
    """Started at its first use, or beforehand by `start_soon`; what was started here is stopped at the end.

    `partitions_retried` is how often a partition was worked on once more: its workers died, or the store was away.
    """

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._starting: Thread | None = None
        self._seen: set[str] = set()
        self.partitions_retried = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._starting:
            self._starting.join()
        self._stack.close()

    def start_soon(self) -> None:
        """Start in the background, where it is known that there will be work."""
        self._starting = Thread(target=lambda: self._client, name="start cluster", daemon=True)
        self._starting.start()

    @property
    def client(self) -> Client:
        """A client of the cluster. Raises `ClusterLostError` where there is none at the address."""
        if self._starting:
            self._starting.join()
        return self._client

    @property
    def is_started(self) -> bool:
        """Whether anything was computed."""
        return "_client" in self.__dict__

    @property
    def patience_seconds(self) -> float:
        """How long to wait for a worker where there is none."""
        return self._settings.dask_patience_seconds

    @cached_property
    def threads(self) -> int:
        """How many threads each worker may compute with: for good, so that an encoder is loaded once."""
        return min((int(worker["nthreads"]) for worker in self._workers().values()), default=1)

    def threads_of(self, tasks: int) -> int:
        """Return how many threads each of so few tasks at a time may compute with: on our own machine all its cores."""
        if self._settings.dask_scheduler_address:
            return self.threads
        return max(1, count_processors() // min(max(tasks, 1), self.worker_count()))

    def worker_count(self) -> int:
        """Return how many workers there are now."""
        return len(self._workers())

    def workers_lost(self) -> int:
        """Return how many workers are gone that were there: of a cluster of our own, they died."""
        if not self.is_started:
            return 0
        there: set[str] = set()
        with suppress(OSError):  # the scheduler itself may be gone, and all with it
            there = set(self._workers())
        return len(self._seen - there)

    def worker_peak_bytes(self) -> int | None:
        """Return the most memory that any one worker has held; None where none was used or none answers."""
        if not self.is_started:
            return None
        peaks = self.client.run(peak_bytes, on_error="ignore")
        return max(peaks.values(), default=None)

    def _workers(self) -> dict[str, dict[str, int]]:
        workers: dict[str, dict[str, int]] = self.client.scheduler_info(n_workers=-1)["workers"]
        self._seen.update(workers)  # one that is started again has another address
        return workers

    @cached_property
    def _client(self) -> Client:
        address = self._settings.dask_scheduler_address
        self._stack.enter_context(_warnings_only())
        try:
            client = Client(address or self._own(), timeout=CONNECT_SECONDS)
        except OSError as error:
            raise ClusterLostError(
                f"no Dask scheduler answers at {address} (DASK_SCHEDULER_ADDRESS): start it, or leave the variable "
                "out, and the run starts a cluster of its own"
            ) from error
        self._stack.callback(client.close)
        if address:
            _ = client.submit(int, pure=False)  # a cluster that scales to nothing starts a worker only when it has work
            self._wait_for_worker(client, address)
        else:
            client.register_plugin(ReportFailuresOnce())
        return client

    def _wait_for_worker(self, client: Client, address: str) -> None:
        try:
            client.wait_for_workers(1, timeout=self.patience_seconds)
        except TimeoutError as error:
            raise ClusterLostError(
                f"the Dask cluster at {address} has had no worker for {self.patience_seconds:.0f} s: start workers, "
                "then run again"
            ) from error

    def _own(self) -> LocalCluster:
        self._stack.enter_context(dask.config.set(_OWN))
        cluster = LocalCluster(
            n_workers=self._settings.batch_workers or count_processors(),
            threads_per_worker=1,  # the encoder and FAISS use the cores themselves, and Python code does not share one
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        )
        self._stack.callback(cluster.close)
        return cluster


@contextmanager
def _warnings_only() -> Iterator[None]:
    """Keep what Dask says of each start, connection and end out of the run's log."""
    log = logging.getLogger("distributed")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


_KNOWN_TO_THE_RUN = ("Compute Failed", "Failed to communicate with scheduler during heartbeat")


class ReportFailuresOnce(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """On workers that share the run's terminal: what a task fails with is for the run to say, with its traceback."""

    def setup(self, worker: Worker) -> None:
        """Keep a worker from printing what its tasks fail with. Warnings about its memory stay."""
        logging.getLogger("distributed.worker").addFilter(_is_news)
        logging.getLogger("distributed.worker.state_machine").setLevel(logging.ERROR)  # cancelled tasks


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether the run does not say it itself: it knows its failures, and that its scheduler has ended."""
    return not record.getMessage().startswith(_KNOWN_TO_THE_RUN)


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    with suppress(OSError, StopIteration):  # where there is no /proc
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    # this one counts what the process that started this one held, too
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
