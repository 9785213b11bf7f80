"""Leases: what a writer is about to depend on, announced to collectors before the writer depends on it.

A writer that reuses stored blobs races with a collector that deletes them. Both announce before they look:

    writer                                   collector (`lookalike.data.snapshots.gc`)
    1. create leases/<id>.json               1. create gc/<id>.json: the condemned objects
    2. wait while a collector condemns       2. read leases/, channels and pins again,
       what it needs, then look whether         spare what they need
       everything is there                   3. delete the rest, for no longer than LEASE_SECONDS
    3. write the manifest, the entry, …      4. delete gc/<id>.json
    4. delete leases/<id>.json

A collector repeats these steps for each chunk of what it condemns.

The side that comes second sees the announcement of the first. So either the collector spares the blob, or the writer
sees that the blob is gone before anything points at it. No clocks are compared.
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
from lookalike.data.snapshots.documents import ChecksummedDocument, this_actor
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.stores import ObjectStore
from lookalike.data.stores.retry import retry_while_unavailable

FOLDER = "leases/"
ANNOUNCEMENTS = "gc/"
LEASE_SECONDS = 60.0  # no collector deletes for longer than this after it announced itself
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


class WriteLease(ChecksummedDocument):
    """What one writer needs: object keys, and folders where they end in `/`."""

    snapshot: str
    needs: tuple[str, ...]
    since: AwareDatetime
    by: str


class Condemned(ChecksummedDocument):
    """What one collector is about to delete."""

    keys: tuple[str, ...]
    since: AwareDatetime
    by: str


@contextmanager
def hold_blobs(store: ObjectStore, manifest: Manifest, on_step: OnStep = ignore) -> Iterator[None]:
    """Keep collectors away from what a snapshot needs, and check that all is there, before something points at it.

    The lease is withdrawn when the work is done, or when it surely did not land. If that is unknown, the lease stays,
    and a collector removes it when it is old.

    Raises `IncompleteSnapshotError`.
    """
    key = f"{FOLDER}{uuid.uuid4().hex}.json"
    lease = WriteLease(snapshot=manifest.id, needs=manifest.needs(), since=datetime.now(UTC), by=this_actor())
    retry_while_unavailable(lambda: _announce(store, key, lease))
    on_step(Step.ANNOUNCED)
    try:
        retry_while_unavailable(lambda: _wait_for_collectors(store, frozenset(lease.needs)))
        retry_while_unavailable(lambda: check_complete(store, manifest))
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


def _wait_for_collectors(store: ObjectStore, needs: frozenset[str]) -> None:
    """Wait until no collector that condemns what we need can still be deleting."""
    deadline = time.monotonic() + LEASE_SECONDS
    for found in list(store.list(ANNOUNCEMENTS)):
        while _condemns(store, found.key, needs) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def _condemns(store: ObjectStore, key: str, needs: frozenset[str]) -> bool:
    try:
        condemned = Condemned.from_json(store.read(key), key)
    except NotFoundError:
        return False
    except (CorruptError, UnsupportedFormatError):
        return True  # it may condemn anything, but for no longer than the lease lasts
    return any(key in needs or f"{key.rpartition('/')[0]}/" in needs for key in condemned.keys)


def _announce(store: ObjectStore, key: str, lease: WriteLease) -> None:
    with suppress(AlreadyExistsError):  # nobody else has this name: it was written by an attempt whose answer was lost
        store.create(key, lease.to_json())


def _withdraw(store: ObjectStore, key: str) -> None:
    with suppress(StoreUnavailableError):  # the work is done, and a lease that is left is collected when it is old
        store.delete(key)
