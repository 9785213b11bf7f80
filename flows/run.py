"""A run: what all stages of one reindex need to know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version

import prefect.runtime
import pyarrow as pa
from distributed import Client
from prefect.logging import get_run_logger
from pydantic import BaseModel, Field

from data.catalogues import read_catalogue_range
from data.channels import Channel, Entry
from data.errors import CorruptError, NotFoundError, SnapshotNotFoundError
from data.manifest import Manifest
from data.rejects import Reject
from data.snapshots import read_manifest
from data.stores import ObjectStore, open_store
from flows.cluster import worker_threads


class Limits(BaseModel):
    """What a new snapshot must reach to be published; one that does not is kept, unpublished, with the reasons."""

    min_recall: float = Field(0.95, ge=0, le=1, description="Recall@10 against exact search that the index must reach")
    max_rejected: float = Field(0.2, ge=0, le=1, description="Share of the catalogue that may be unusable")
    max_vanished: float = Field(0.5, ge=0, le=1, description="Share of the last snapshot's products that may be gone")


@dataclass(frozen=True)
class Request:
    """What was asked for: the flow's parameters, completed from the settings."""

    catalogue: str
    store: str
    channel: str
    encoder: str
    shards: int | None
    full: bool
    publish: bool
    attribution: str
    limits: Limits
    partition: int


class Run:
    """One reindex: what was asked, the store and cluster it works on, and the snapshot it starts from.

    Not a dataclass: Prefect looks into those for futures, one field and row at a time.
    """

    def __init__(self, request: Request, client: Client) -> None:
        self.request = request
        self.client = client
        self.started = datetime.now(UTC)
        flow_run = prefect.runtime.flow_run.id or "local"
        self.id = f"{self.started:%Y%m%dT%H%M%SZ}-{flow_run[:8]}"
        self.code_version = version("lookalike")
        self.rejects: list[Reject] = []

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
        except (CorruptError, SnapshotNotFoundError) as error:
            get_run_logger().warning("the published snapshot cannot be built upon: %s", error)
            return None

    @cached_property
    def previous(self) -> pa.Table | None:
        """The products of that snapshot, as they were then."""
        if self.parent is None:
            return None
        try:
            return read_catalogue_range(self.store, self.parent.catalogue.id)
        except NotFoundError:
            return None

    @cached_property
    def threads(self) -> int:
        """How many threads a worker may compute with."""
        return worker_threads(self.client)

    def seconds(self) -> float:
        """Return how long the run has been going."""
        return (datetime.now(UTC) - self.started).total_seconds()
