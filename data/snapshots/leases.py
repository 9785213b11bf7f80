"""Snapshots in the making: what a writer is about to depend on, told to collectors before it depends on it.

A writer that reuses stored blobs races with a collector that deletes them. Both announce before they look:

    writer                                   collector (`lookalike.data.snapshots.gc`)
    1. create making/<id>.json               1. create collections/<id>.json: the condemned
    2. wait while a collection condemns      2. read making/, channels and pins again,
       what it needs, then look whether         spare what they need
       everything is there                   3. delete the rest, for no longer than LEASE_SECONDS
    3. write the manifest, the entry, …      4. delete collections/<id>.json
    4. delete making/<id>.json

A collector takes these steps anew for each chunk of what it condemns.

Whichever came second sees the other's announcement, so either the collector spares the blob, or the writer sees
that it is gone before anything points at it. No clocks are compared.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import AwareDatetime

from lookalike.data.errors import (
    AlreadyExistsError,
    ChannelConflictError,
    CorruptError,
    IncompleteSnapshotError,
    NotFoundError,
    SnapshotNotFoundError,
    StoreRefusedError,
    StoreUnavailableError,
    UnsupportedFormatError,
)
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.documents import Sealed, this_actor
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.stores import ObjectStore
from lookalike.data.stores.retry import retried

FOLDER = "making/"
COLLECTIONS = "collections/"
LEASE_SECONDS = 60.0  # no collection deletes for longer than this after it announced itself
POLL_SECONDS = 0.05
STAT_THREADS = 16  # a look at an object is mostly waiting


class Step(StrEnum):
    """The steps of publishing, in order. A process may die after each of them, and nothing is lost or torn."""

    ANNOUNCED = "announced"
    CHECKED = "checked"
    DESCRIBED = "described"
    MOVED = "moved"
    WITHDRAWN = "withdrawn"


OnStep = Callable[[Step], None]


def ignore(_step: Step) -> None:
    """Do nothing about a step."""


class Marker(Sealed):
    """What one writer needs: object keys, and folders where they end in `/`."""

    snapshot: str
    needs: tuple[str, ...]
    since: AwareDatetime
    by: str


class Condemned(Sealed):
    """What one collection is about to delete."""

    keys: tuple[str, ...]
    since: AwareDatetime
    by: str


@contextmanager
def protected(store: ObjectStore, manifest: Manifest, on_step: OnStep = ignore) -> Iterator[None]:
    """Keep collectors off what a snapshot needs, and see that all of it is there, before something points at it.

    The announcement is withdrawn when the work is done or surely did not land; where that is unknown it stays,
    and the collector removes it when it is old.

    Raises `IncompleteSnapshotError`.
    """
    key = f"{FOLDER}{uuid.uuid4().hex}.json"
    marker = Marker(snapshot=manifest.id, needs=manifest.needs(), since=datetime.now(UTC), by=this_actor())
    retried(lambda: _announce(store, key, marker))
    on_step(Step.ANNOUNCED)
    try:
        retried(lambda: _wait_for_collections(store, frozenset(marker.needs)))
        retried(lambda: check_complete(store, manifest))
        on_step(Step.CHECKED)
        yield
    except (ChannelConflictError, IncompleteSnapshotError, SnapshotNotFoundError, StoreRefusedError):
        _withdraw(store, key)
        raise
    _withdraw(store, key)
    on_step(Step.WITHDRAWN)


def check_complete(store: ObjectStore, manifest: Manifest) -> None:
    """See that all of a snapshot's blobs are stored, in full size. Raises `IncompleteSnapshotError`."""
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        found = pool.map(lambda blob: _problem(store, blob), manifest.named_blobs().values())
        problems = [
            f"{name} ({problem})" for name, problem in zip(manifest.named_blobs(), found, strict=True) if problem
        ]
    if problems:
        raise IncompleteSnapshotError(
            f"snapshot {manifest.id} lacks {', '.join(problems[:5])}{' …' if len(problems) > 5 else ''}: "
            "nothing points at it; run `lookalike reindex` again, which makes what is missing"
        )


def _problem(store: ObjectStore, blob: Blob) -> str | None:
    try:
        size = store.stat(blob.key).size
    except NotFoundError:
        return f"{blob.key} is not in the store"
    return None if size == blob.size else f"{blob.key} has {size} bytes instead of {blob.size}"


def _wait_for_collections(store: ObjectStore, needs: frozenset[str]) -> None:
    """Wait until no collection that condemns what we need can still be deleting."""
    deadline = time.monotonic() + LEASE_SECONDS
    for found in list(store.list(COLLECTIONS)):
        while _condemns(store, found.key, needs) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def _condemns(store: ObjectStore, key: str, needs: frozenset[str]) -> bool:
    try:
        condemned = Condemned.from_json(store.read(key), key)
    except NotFoundError:
        return False
    except (CorruptError, UnsupportedFormatError):
        return True  # whatever it condemns: it cannot be for longer than the lease
    return any(key in needs or f"{key.rpartition('/')[0]}/" in needs for key in condemned.keys)


def _announce(store: ObjectStore, key: str, marker: Marker) -> None:
    with suppress(AlreadyExistsError):  # nobody else has this name: it was written by an attempt whose answer was lost
        store.create(key, marker.to_json())


def _withdraw(store: ObjectStore, key: str) -> None:
    with suppress(StoreUnavailableError):  # the work is done, and a marker that is left is collected when it is old
        store.delete(key)
