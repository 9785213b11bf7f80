"""A run in three: the request (frozen), the workspace (where it works), the journal (what it has done so far).

What stages find out for other stages they return: none changes what another one sees.
None of these is a dataclass or a model: Prefect looks into those for futures, one field and row at a time.

A stage is a step of a run, which counts the time it takes.
A step is a Prefect task that runs where the flow runs; what the store failed at is tried again.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property, wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import prefect.runtime
from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from lookalike.data.catalogue.rejects import RejectLog
from lookalike.data.embeddings import Embeddings
from lookalike.data.errors import StoreUnavailableError
from lookalike.data.partitioned import PartitionedTable
from lookalike.data.reports import Kind
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.manifest import EncoderSection, Manifest
from lookalike.data.spans import span
from lookalike.data.stores import ObjectStore, open_store
from lookalike.data.stores.retry import Backoff
from lookalike.flows.runtime.cluster import Cluster
from lookalike.flows.runtime.partitions import gather
from lookalike.flows.runtime.request import DEFAULT_ENCODER, Request
from lookalike.tasks.draft import Origin
from lookalike.tasks.encoders.precision.names import with_precision
from lookalike.tasks.published import Published

RETRIES = 5
BACKOFF = Backoff(4.0, longest=60.0, jitter=0.0)  # two minutes in all

Result = TypeVar("Result")
P = ParamSpec("P")
R = TypeVar("R")


class Workspace:
    """Where a run works: the store and its channel, the cluster, scratch space, and until when.

    Attributes:
        scratch: a folder on this machine that goes when the run ends.
        deadline: on the monotonic clock.
    """

    def __init__(self, request: Request, cluster: Cluster, scratch: Path) -> None:
        """Begin to count the time that the request gives."""
        self.cluster = cluster
        self.scratch = scratch
        self.deadline = time.monotonic() + request.timeout_seconds
        self._uri = request.store
        self._channel = request.channel
        self._files = 0

    @cached_property
    def store(self) -> ObjectStore:
        """The store, opened."""
        return open_store(self._uri)

    @cached_property
    def channel(self) -> Channel:
        """The channel to publish to."""
        return Channel(self.store, self._channel)

    def embeddings(self, encoder: EncoderSection) -> Embeddings:
        """Return the vectors that the store has of an encoder."""
        return Embeddings(self.store, encoder.fingerprint)

    def new_table(self, name: str) -> PartitionedTable:
        """Return an empty partitioned table on this machine: a stage that is tried again begins with another one."""
        return PartitionedTable(self.new_path(name))

    def new_path(self, name: str) -> Path:
        """Return the path of a new file or folder on this machine; `name` is for people."""
        self._files += 1
        return self.scratch / f"{self._files:03}-{name}"

    def on_worker(self, function: Callable[..., Result], *args: Any, **more: Any) -> Result:
        """Run a function on a worker; return its result. Raises as `gather` does, and as the function."""
        future = self.cluster.client.submit(function, *args, **more, pure=False)
        result: Result = gather(self.cluster, [future], self.deadline)[0]
        return result


class Journal:
    """What a run has done so far, for its report. Stages write it; only the report reads it.

    Attributes:
        kind: what the run is now: a refresh may become a reindex.
        run: the id of the run, which begins with the time in UTC, so that ids sort by it.
        rejects: what could not be used, by stage.
        stage_seconds: how long each stage took.
        notes: what people should know of how the index was made.
        embedded: how many vectors were made, also before a refresh became a reindex.
        published: the snapshot that this run pointed the channel at, once it has.
        stages_retried: how often a stage failed and was tried again.
    """

    def __init__(self, kind: Kind) -> None:
        """Begin now."""
        self.kind: Kind = kind
        self.started = datetime.now(UTC)
        self.run = f"{self.started:%Y%m%dT%H%M%SZ}-{(prefect.runtime.flow_run.id or 'local')[:8]}"
        self.rejects: dict[str, RejectLog] = {}
        self.stage_seconds: dict[str, float] = {}
        self.notes: list[str] = []
        self.embedded = 0
        self.published: str | None = None
        self.stages_retried = 0

    @property
    def rejected(self) -> int:
        """How many products could not be used, so far."""
        return sum(log.total for log in self.rejects.values())

    def note(self, sentence: str) -> None:
        """Keep a sentence for the report, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def seconds(self) -> float:
        """Return how long the run has been going."""
        return (datetime.now(UTC) - self.started).total_seconds()

    def origin(self, parent: Manifest | None) -> Origin:
        """Return what a snapshot says of the run that makes it; `parent` is the one that the run starts from."""
        return Origin(self.run, self.started, version("lookalike"), parent)

    def become_reindex(self) -> None:
        """Note that a refresh goes on as a full build, which scans everything again."""
        self.kind = "reindex"
        self.rejects.clear()

    @contextmanager
    def time_stage(self, stage: str) -> Iterator[None]:
        """Count the time as that of a stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + time.monotonic() - started


class Run:
    """One run of a reindex or a refresh."""

    def __init__(self, request: Request, workspace: Workspace, journal: Journal) -> None:
        """Put together what each stage is given."""
        self.request = request
        self.workspace = workspace
        self.journal = journal

    def attribution(self, published: Published) -> str:
        """Return the credit for the pictures: what the request says, else that of the last snapshot."""
        return published.attribution if self.request.attribution is None else self.request.attribution

    def encoder_name(self, published: Published) -> str:
        """Return the name of the encoder: what the request says, else that of the last snapshot."""
        name = self.request.encoder or published.encoder or DEFAULT_ENCODER
        return with_precision(name, self.request.precision)

    def new_rejects(self, stage: str) -> RejectLog:
        """Return an empty log for a stage, in place of what an earlier try of it wrote."""
        log = self.journal.rejects[stage] = RejectLog(self.workspace.new_path(f"rejects-{stage}.parquet"))
        return log


def step(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a step, called as before; its result stays in the process: what must last lies in our store."""
    return task(
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=[BACKOFF.seconds(failures) for failures in range(1, RETRIES + 1)],
        retry_condition_fn=_worth_another_try,
    )


def _worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, StoreUnavailableError | OSError) and not is_out_of_space(error)


def is_out_of_space(error: BaseException) -> bool:
    """Tell whether a disk is full, or a quota is used up: to wait would not help."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def stage(name: str) -> Callable[[Callable[Concatenate[Run, P], R]], Callable[Concatenate[Run, P], R]]:
    """Make a function a stage: a Prefect task that runs where the flow runs, and puts its work on Dask."""

    def decorate(function: Callable[Concatenate[Run, P], R]) -> Callable[Concatenate[Run, P], R]:
        @wraps(function)
        def timed(run: Run, *args: P.args, **kwargs: P.kwargs) -> R:
            run.journal.stages_retried += (prefect.runtime.task_run.run_count or 0) > 1
            with span(name), run.journal.time_stage(name):
                return function(run, *args, **kwargs)

        return cast("Callable[Concatenate[Run, P], R]", step(name)(timed))

    return decorate
