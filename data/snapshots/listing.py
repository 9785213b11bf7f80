"""The overview: all snapshots of a store at a glance, damaged ones too."""

from __future__ import annotations

from pydantic import BaseModel

from lookalike.data.errors import CorruptError, SnapshotNotFoundError, UnsupportedFormatError
from lookalike.data.snapshots.channels import Channel, list_channels
from lookalike.data.snapshots.pins import pinned
from lookalike.data.snapshots.store import list_snapshots, read_manifest
from lookalike.data.stores import ObjectStore


class Summary(BaseModel):
    """One snapshot. `current` says whether the channel asked about points at it, `problem` why it cannot be read."""

    snapshot: str
    current: bool
    channels: list[str]
    pinned: bool
    products: int | None = None
    encoder: str | None = None
    bytes: int | None = None
    quality: dict[str, float] = {}
    problem: str | None = None


def list_summaries(store: ObjectStore, channel: str) -> list[Summary]:
    """Return all snapshots, oldest first."""
    points_at: dict[str, list[str]] = {}
    for name in list_channels(store):
        points_at.setdefault(Channel(store, name).current().snapshot, []).append(name)
    kept = set(pinned(store))
    return [
        _summary(store, Summary(snapshot=name, current=channel in at, channels=at, pinned=name in kept))
        for name in list_snapshots(store)
        for at in [points_at.get(name, [])]
    ]


def _summary(store: ObjectStore, known: Summary) -> Summary:
    try:
        manifest = read_manifest(store, known.snapshot)
    except (CorruptError, UnsupportedFormatError, SnapshotNotFoundError) as error:
        return known.model_copy(update={"problem": str(error)})
    return known.model_copy(
        update={
            "products": manifest.products,
            "encoder": manifest.encoder.name,
            "bytes": sum(blob.size for blob in set(manifest.blobs())),
            "quality": manifest.quality,
        }
    )
