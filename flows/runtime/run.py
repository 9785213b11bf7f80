"""A run: what all stages of one reindex or refresh need to know."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import prefect.runtime
from pydantic import BaseModel, Field

from lookalike.data.catalogue.rejects import RejectLog
from lookalike.data.errors import CorruptError, OutdatedFormatError, SnapshotNotFoundError
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.partitioned import PartitionedTable
from lookalike.data.reports import Kind, State
from lookalike.data.snapshots.channels import Channel, Entry
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.store import read_manifest
from lookalike.data.stores import ObjectStore, open_store
from lookalike.flows.runtime.cluster import Cluster
from lookalike.flows.runtime.logs import run_log
from lookalike.tasks.embed.partition import Device


class Limits(BaseModel):
    """What a new snapshot must reach to be published; one that does not is kept, unpublished, with the reasons."""

    min_recall: float = Field(0.95, ge=0, le=1, description="Recall@10 against exact search that the index must reach")
    max_rejected: float = Field(0.2, ge=0, le=1, description="Share of the catalogue that may be unusable")
    max_vanished: float = Field(0.5, ge=0, le=1, description="Share of the last snapshot's products that may be gone")
    min_overlap: float = Field(
        0.5, ge=0, le=1, description="Share of the first ten hits that must be those of the last snapshot's"
    )
    max_growth: float = Field(10.0, gt=1, description="How many times the last snapshot's products there may be")
    max_bytes: int | None = Field(None, ge=1, description="Largest snapshot, in bytes; default: any")


@dataclass(frozen=True)
class Request:
    """What was asked for: the flow's parameters, completed from the settings."""

    kind: Kind
    catalogue: str
    store: str
    channel: str
    encoder: str
    shards: int | None
    full: bool
    index_bytes: int | None
    publish: bool
    attribution: str | None
    limits: Limits
    partition: int
    partition_bytes: int
    policy: FetchPolicy
    embed_device: Device
    embed_resources: dict[str, float]
    near_duplicates: float | None
    timeout_seconds: float


class Run:
    """One run: what was asked, the store and cluster it works on, and the snapshot it starts from.

    Not a dataclass: Prefect looks into those for futures, one field and row at a time.

    Attributes:
        scratch: a folder on this machine that goes when the run ends.
        rejects: what could not be used, by stage.
        stage_seconds: how long each stage took.
        embedded: how many vectors were made, also before a refresh became a reindex.
        moved_to: the snapshot that this run pointed the channel at, once it has.
    """

    def __init__(self, request: Request, cluster: Cluster, scratch: Path) -> None:
        self.request = request
        self.cluster = cluster
        self.scratch = scratch
        self.started = datetime.now(UTC)
        self.deadline = time.monotonic() + request.timeout_seconds
        flow_run = prefect.runtime.flow_run.id or "local"
        self.id = f"{self.started:%Y%m%dT%H%M%SZ}-{flow_run[:8]}"
        self.code_version = version("lookalike")
        self.rejects: dict[str, RejectLog] = {}
        self.stage_seconds: dict[str, float] = {}
        self.embedded = 0
        self.moved_to: str | None = None
        self._files = 0

    @cached_property
    def store(self) -> ObjectStore:
        """The store, opened."""
        return open_store(self.request.store)

    @cached_property
    def channel(self) -> Channel:
        """The channel to publish to."""
        return Channel(self.store, self.request.channel)

    @cached_property
    def entry(self) -> Entry | None:
        """The channel's newest entry when the run began; publishing moves on from it, or loses the race."""
        return self.channel.latest()

    @cached_property
    def parent(self) -> Manifest | None:
        """The snapshot that the channel pointed at when the run began; none where it is lost: then all is made anew."""
        if self.entry is None:
            return None
        try:
            return read_manifest(self.store, self.entry.snapshot)
        except (CorruptError, OutdatedFormatError, SnapshotNotFoundError) as error:
            run_log(__name__).warning("the published snapshot cannot be built upon: %s", error)
            return None

    def published(self) -> Manifest:
        """Return the snapshot that the run starts from. Raises `SnapshotNotFoundError`."""
        if self.parent is None:
            raise SnapshotNotFoundError(f"channel {self.channel.name!r} has no snapshot to build upon")
        return self.parent

    def forget_parent(self, error: Exception) -> None:
        """Go on as if nothing was published, but for whom the pictures are owed to: its products cannot be read."""
        run_log(__name__).warning("the published snapshot cannot be built upon, all is made anew: %s", error)
        self.request = replace(self.request, attribution=self.attribution)
        self.parent = None

    def state_of(self, snapshot: Manifest) -> State:
        """Return what became of a snapshot that the run made."""
        if snapshot.refused:
            return "refused"
        return "published" if self.request.publish else "unpublished"

    @property
    def attribution(self) -> str:
        """Whom the pictures are owed to: as was asked, else as in the published snapshot."""
        if self.request.attribution is not None:
            return self.request.attribution
        return self.parent.catalogue.attribution if self.parent else ""

    def become_reindex(self) -> None:
        """Go on as a full build: scanned anew, as a refresh looks at what changed only."""
        self.request = replace(self.request, kind="reindex")
        self.rejects.clear()

    @property
    def rejected(self) -> int:
        """How many products could not be used, so far."""
        return sum(log.total for log in self.rejects.values())

    def new_rejects(self, stage: str) -> RejectLog:
        """Return an empty log for a stage, in place of what an earlier try of it wrote."""
        self.rejects[stage] = RejectLog(self.scratch_file(f"rejects-{stage}.parquet"))
        return self.rejects[stage]

    def new_spill(self, name: str) -> PartitionedTable:
        """Return an empty spill: a stage that is tried again begins anew."""
        return PartitionedTable(self.scratch_file(name))

    def scratch_file(self, name: str) -> Path:
        """Return the path of a new file or folder on this machine."""
        self._files += 1
        return self.scratch / f"{self._files:03}-{name}"

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the time as that of a stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + time.monotonic() - started

    def seconds(self) -> float:
        """Return how long the run has been going."""
        return (datetime.now(UTC) - self.started).total_seconds()
