"""The marker: one small object that says that a folder or a bucket's prefix is a store of Lookalike.

The first writer of a snapshot creates it. What deletes asks for it first, because a wrong path or prefix would
otherwise be enough to delete what belongs to somebody else.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from pydantic import AwareDatetime

from lookalike.data.errors import AlreadyExistsError, NotAStoreError, NotFoundError
from lookalike.data.snapshots.documents import ChecksummedDocument, this_actor
from lookalike.data.stores import ObjectStore

MARKER = "lookalike-store.json"


class StoreMarker(ChecksummedDocument):
    """Since when a place is a store, and who made it one."""

    created_at: AwareDatetime
    created_by: str


def mark_store(store: ObjectStore) -> None:
    """Make the place a store, unless it is one."""
    try:
        store.stat(MARKER)
    except NotFoundError:
        with suppress(AlreadyExistsError):  # another writer was faster
            store.create(MARKER, StoreMarker(created_at=datetime.now(UTC), created_by=this_actor()).to_json())


def check_is_store(store: ObjectStore) -> StoreMarker:
    """Return the store's marker. Raises `NotAStoreError`, `CorruptError`, `UnsupportedFormatError`."""
    try:
        return StoreMarker.from_json(store.read(MARKER), MARKER)
    except NotFoundError as error:
        raise NotAStoreError(
            f"{store.uri} is no store of Lookalike, for it has no {MARKER}: nothing was deleted. Check the store's "
            "address (--store or LOOKALIKE_STORE). The first reindex makes a place a store"
        ) from error
