"""Pins: snapshots that no collection removes, each with who wanted that, when and why."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import AwareDatetime

from lookalike.data.errors import AlreadyExistsError, NotFoundError, SnapshotNotFoundError
from lookalike.data.snapshots.documents import ChecksummedDocument, this_actor
from lookalike.data.snapshots.leases import hold_blobs
from lookalike.data.snapshots.store import check_snapshot_id, read_manifest
from lookalike.data.stores import ObjectStore
from lookalike.data.stores.retry import retried

FOLDER = "pins/"


class Pin(ChecksummedDocument):
    """A pinned snapshot. `note` says why."""

    snapshot: str
    note: str
    pinned_at: AwareDatetime
    pinned_by: str


def pin(store: ObjectStore, snapshot: str, note: str = "") -> Pin:
    """Keep a snapshot until it is unpinned; return the pin, an earlier one where there is one.

    Raises `SnapshotNotFoundError`, `IncompleteSnapshotError`.
    """
    wanted = Pin(snapshot=snapshot, note=note, pinned_at=datetime.now(UTC), pinned_by=this_actor())
    with hold_blobs(store, read_manifest(store, snapshot)):
        retried(lambda: read_manifest(store, snapshot))  # what was there before we announced may be collected
        try:
            store.create(_key(snapshot), wanted.to_json())
        except AlreadyExistsError:
            return read_pin(store, snapshot)
    return wanted


def unpin(store: ObjectStore, snapshot: str) -> None:
    """Let a snapshot go when its time comes; one that is not pinned is no error."""
    store.delete(_key(snapshot))


def read_pin(store: ObjectStore, snapshot: str) -> Pin:
    """Return a snapshot's pin. Raises `SnapshotNotFoundError` where it is not pinned, `CorruptError`."""
    key = _key(snapshot)
    try:
        return Pin.from_json(store.read(key), key)
    except NotFoundError as error:
        raise SnapshotNotFoundError(f"snapshot {snapshot} is not pinned") from error


def pinned(store: ObjectStore) -> list[str]:
    """Return the ids of all pinned snapshots. A pin holds by its name, even where its note is damaged."""
    names = (found.key.removeprefix(FOLDER) for found in store.list(FOLDER))
    return [name.removesuffix(".json") for name in names if name.endswith(".json")]


def _key(snapshot: str) -> str:
    return f"{FOLDER}{check_snapshot_id(snapshot)}.json"
