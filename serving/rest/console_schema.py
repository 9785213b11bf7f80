"""What operators read and send: the JSON of `/v1/admin`, as OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from lookalike.data.catalogue.rejects import Reject
from lookalike.data.fetch.addresses import hide_secrets
from lookalike.data.reports import Kind, RunReport, State
from lookalike.data.snapshots.channels import Entry
from lookalike.serving.console.board import SnapshotLine

Reason = Annotated[str, Field(min_length=3, max_length=500, description="Why; kept in the channel's history.")]


class EntryReply(BaseModel):
    """One move of a channel. `held`: runs leave it there until it is moved by hand again."""

    model_config = ConfigDict(from_attributes=True)

    channel: str
    number: int
    snapshot: str
    moved_at: datetime
    moved_by: str
    reason: str
    restores: int | None = None
    held: bool = False


class ChannelsReply(BaseModel):
    """The newest entry of each channel, which of them this server follows, and what it lets operators do."""

    follows: str
    serves: str | None
    may_move: bool
    past_snapshots: int
    channels: list[EntryReply]


class EntriesReply(BaseModel):
    """The moves of a channel, newest first."""

    entries: list[EntryReply]


class RunReply(BaseModel):
    """What one run did; `seconds` is the whole run."""

    model_config = ConfigDict(from_attributes=True)

    run: str
    kind: Kind
    state: State
    message: str
    started_at: datetime
    seconds: float
    snapshot: str | None
    products: int
    added: int
    changed_pictures: int
    changed_text: int
    removed: int
    embedded: int
    rejected: int
    reject_reasons: dict[str, int]
    recall_at_10: float | None
    bytes: int | None
    contact_sheet: bool

    @field_validator("contact_sheet", mode="before")
    @classmethod
    def _has_one(cls, key: str | None) -> bool:
        return key is not None


class SnapshotLineReply(BaseModel):
    """One snapshot. `refused` has the limits that it did not reach, `problem` why it cannot be read."""

    snapshot: str
    channels: list[str]
    pinned: bool
    problem: str = ""
    created_at: datetime | None = None
    parent: str | None = None
    encoder: str = ""
    products: int | None = None
    bytes: int | None = None
    quality: dict[str, float] = Field(default_factory=dict)
    refused: list[str] = Field(default_factory=list)
    run: RunReply | None = None

    @classmethod
    def of(cls, line: SnapshotLine) -> SnapshotLineReply:
        """Return the reply about a snapshot."""
        known = {"snapshot": line.snapshot, "channels": line.channels, "pinned": line.pinned, "problem": line.problem}
        if line.manifest is None:
            return cls.model_validate(known)
        manifest = line.manifest
        return cls.model_validate(
            {
                **known,
                "created_at": manifest.created_at,
                "parent": manifest.parent,
                "encoder": manifest.encoder.name,
                "products": manifest.products,
                "bytes": sum(blob.size for blob in set(manifest.blobs())),
                "quality": manifest.quality,
                "refused": manifest.refused,
                "run": line.report and RunReply.model_validate(line.report),
            }
        )


class SnapshotLinesReply(BaseModel):
    """Snapshots of the store, newest first."""

    snapshots: list[SnapshotLineReply]


class RunsReply(BaseModel):
    """Runs of a channel, newest first."""

    runs: list[RunReply]


class RejectReply(BaseModel):
    """A product that was left out. `reference` is its picture, without what may be secret."""

    id: str
    reference: str
    stage: str
    reason: str
    message: str


class RejectsReply(BaseModel):
    """What the last run of a channel left out: counted by reason, and the first of them."""

    run: str
    started_at: datetime
    total: int
    reasons: dict[str, int]
    rejects: list[RejectReply]


class PinReply(BaseModel):
    """A pinned snapshot."""

    model_config = ConfigDict(from_attributes=True)

    snapshot: str
    note: str
    pinned_at: datetime
    pinned_by: str


class PromoteRequest(BaseModel):
    """Point a channel at a snapshot: by its id, its first letters, `current` or `previous`."""

    model_config = ConfigDict(extra="forbid")

    snapshot: str
    reason: Reason
    force: bool = Field(False, description="Also one that did not reach its limits.")
    hold: bool | None = Field(
        None, description="Whether runs leave it there until it is moved by hand again; default: if it is an older one."
    )


class RollBackRequest(BaseModel):
    """Point a channel at the snapshot before."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason
    hold: bool = Field(True, description="Whether runs leave it there until it is moved by hand again.")


class OpenRequest(BaseModel):
    """A past snapshot: by its id, its first letters, `previous`, or when the channel pointed at it."""

    model_config = ConfigDict(extra="forbid")

    snapshot: str = "previous"
    as_of: AwareDatetime | None = Field(None, description="A time with its zone, instead of `snapshot`.")


class OpenedReply(BaseModel):
    """A snapshot that answers queries which name it, for five minutes from now or until the next swap."""

    snapshot: str
    created_at: datetime
    products: int
    encoder: str
    quality: dict[str, float]


class PinRequest(BaseModel):
    """Keep a snapshot until it is unpinned."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field("", max_length=500, description="Why; kept with who and when.")


def write_rejects(report: RunReport, rejects: list[Reject]) -> RejectsReply:
    """Return the reply about what a run left out."""
    shown = [
        RejectReply(
            id=one.id, reference=hide_secrets(one.reference), stage=one.stage, reason=one.reason, message=one.message
        )
        for one in rejects
    ]
    return RejectsReply(
        run=report.run,
        started_at=report.started_at,
        total=report.rejected,
        reasons=report.reject_reasons,
        rejects=shown,
    )


def write_entries(entries: list[Entry]) -> list[EntryReply]:
    """Return the reply about entries."""
    return [EntryReply.model_validate(entry) for entry in entries]


def write_runs(reports: list[RunReport]) -> list[RunReply]:
    """Return the reply about runs."""
    return [RunReply.model_validate(report) for report in reports]
