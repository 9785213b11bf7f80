"""Snapshots in a store: write, read, list, verify, pin.

A pinned snapshot is removed by no collection; its pin says who wanted that, when and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel

from lookalike.data.errors import (
    AlreadyExistsError,
    CorruptError,
    NotFoundError,
    SnapshotNotFoundError,
    UnsupportedFormatError,
)
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.channels import Channel, list_channels
from lookalike.data.snapshots.documents import ChecksummedDocument, this_actor
from lookalike.data.snapshots.leases import hold_blobs
from lookalike.data.snapshots.manifest import Manifest, parse_manifest, read_manifest_fields
from lookalike.data.stores import ObjectStore
from lookalike.data.stores.retry import retry_while_unavailable

FOLDER = "snapshots/"
PINS_FOLDER = "pins/"
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


def manifest_key(snapshot: str) -> str:
    """Return the name of a snapshot's manifest in the store. Raises `SnapshotNotFoundError` for a malformed id."""
    return f"{FOLDER}{check_snapshot_id(snapshot)}/manifest.json"


def check_snapshot_id(snapshot: str) -> str:
    """Return `snapshot` if it is well-formed. Raises `SnapshotNotFoundError`."""
    if not _ID.fullmatch(snapshot):
        raise SnapshotNotFoundError(f"{snapshot!r} is no snapshot id; `lookalike snapshots list` shows them")
    return snapshot


def write_manifest(store: ObjectStore, manifest: Manifest) -> Manifest:
    """Make a snapshot exist; its blobs must be in the store already. Return what the store then holds."""
    try:
        store.create(manifest_key(manifest.id), manifest.to_json())
    except AlreadyExistsError:
        return read_manifest(store, manifest.id)  # the same second and the same content: it is the same snapshot
    return manifest


def read_manifest(store: ObjectStore, snapshot: str) -> Manifest:
    """Return a snapshot's manifest. Raises `SnapshotNotFoundError`, `CorruptError`, `UnsupportedFormatError`."""
    key = manifest_key(snapshot)
    try:
        manifest = parse_manifest(store.read(key), key)
    except NotFoundError as error:
        raise SnapshotNotFoundError(f"the store has no snapshot {snapshot}") from error
    if manifest.id != snapshot:
        raise CorruptError(f"{key} describes another snapshot, {manifest.id}")
    return manifest


def read_manifest_document(store: ObjectStore, snapshot: str) -> dict[str, Any]:
    """Return a snapshot's manifest as JSON, also from before the first release: who only keeps it needs its blobs.

    Raises `SnapshotNotFoundError`, `CorruptError`, and `UnsupportedFormatError` for a newer format.
    """
    key = manifest_key(snapshot)
    try:
        document = read_manifest_fields(store.read(key), key)
    except NotFoundError as error:
        raise SnapshotNotFoundError(f"the store has no snapshot {snapshot}") from error
    if document.get("id") != snapshot:
        raise CorruptError(f"{key} describes another snapshot, {document.get('id')}")
    return document


def list_snapshots(store: ObjectStore) -> Iterator[str]:
    """Yield the ids of all snapshots, oldest first."""
    for found in store.list(FOLDER):
        folder, _, name = found.key.removeprefix(FOLDER).partition("/")
        if name == "manifest.json" and _ID.fullmatch(folder):
            yield folder


def verify(store: ObjectStore, manifest: Manifest) -> list[str]:
    """Read every byte of a snapshot; return a sentence for each blob that is missing or damaged."""
    problems = []
    for name, blob in manifest.named_blobs().items():
        try:
            blobs.check(store, blob)
        except (CorruptError, NotFoundError) as error:
            problems.append(f"{name}: {error}")
    return problems


class Pin(ChecksummedDocument):
    """A pinned snapshot. `note` says why."""

    snapshot: str
    note: str
    pinned_at: AwareDatetime
    pinned_by: str


def pin(store: ObjectStore, snapshot: str, note: str = "", *, actor: str = "") -> Pin:
    """Keep a snapshot until it is unpinned; return the pin, an earlier one where there is one.

    `actor` is who does it; default: the account and machine of this process.

    Raises `SnapshotNotFoundError`, `IncompleteSnapshotError`.
    """
    wanted = Pin(snapshot=snapshot, note=note, pinned_at=datetime.now(UTC), pinned_by=actor or this_actor())
    with hold_blobs(store, read_manifest(store, snapshot)):
        # what was there before we announced may be collected
        retry_while_unavailable(lambda: read_manifest(store, snapshot))
        try:
            store.create(_pin_key(snapshot), wanted.to_json())
        except AlreadyExistsError:
            return read_pin(store, snapshot)
    return wanted


def unpin(store: ObjectStore, snapshot: str) -> None:
    """Let a snapshot go when its time comes; one that is not pinned is no error."""
    store.delete(_pin_key(snapshot))


def read_pin(store: ObjectStore, snapshot: str) -> Pin:
    """Return a snapshot's pin. Raises `SnapshotNotFoundError` where it is not pinned, `CorruptError`."""
    key = _pin_key(snapshot)
    try:
        return Pin.from_json(store.read(key), key)
    except NotFoundError as error:
        raise SnapshotNotFoundError(f"snapshot {snapshot} is not pinned") from error


def list_pins(store: ObjectStore) -> list[str]:
    """Return the ids of all pinned snapshots. A pin holds by its name, even where its note is damaged."""
    names = (found.key.removeprefix(PINS_FOLDER) for found in store.list(PINS_FOLDER))
    return [name.removesuffix(".json") for name in names if name.endswith(".json")]


def _pin_key(snapshot: str) -> str:
    return f"{PINS_FOLDER}{check_snapshot_id(snapshot)}.json"


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
    refused: list[str] = []
    problem: str | None = None


def list_summaries(store: ObjectStore, channel: str) -> list[Summary]:
    """Return all snapshots, oldest first."""
    points_at: dict[str, list[str]] = {}
    for name in list_channels(store):
        points_at.setdefault(Channel(store, name).current().snapshot, []).append(name)
    kept = set(list_pins(store))
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
            "refused": list(manifest.refused),
        }
    )
