"""The doctor: proves that a store does what publishing, reading and collecting rely on."""

from __future__ import annotations

import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel

from lookalike.data.errors import AlreadyExistsError, LookalikeError, NotFoundError
from lookalike.data.snapshots.channels import Channel, list_channels
from lookalike.data.snapshots.leases import check_complete
from lookalike.data.snapshots.store import read_manifest
from lookalike.data.stores import ObjectStore

FOLDER = "doctor/"
WRITERS = 8
ROUNDS = 2
MAX_SKEW = timedelta(seconds=30)
PACKAGES = ("lookalike", "faiss-cpu", "onnxruntime", "pyarrow", "s3fs", "pydantic")


class Finding(BaseModel):
    """What one check found. `breaks` says what would go wrong where it failed."""

    check: str
    ok: bool
    detail: str
    breaks: str = ""


class _UnfitError(Exception):
    """The store does something else than it must."""


def examine(store: ObjectStore) -> Iterator[Finding]:
    """Run all checks, in a folder of their own that is removed again; yield what each found."""
    folder = f"{FOLDER}{uuid.uuid4().hex}/"
    try:
        for name, (check, breaks) in _CHECKS.items():
            yield _finding(name, breaks, partial(check, store, folder))
    finally:
        _clean(store, folder)
    for name in _channel_names(store):
        yield _finding(f"channel {name}", "servers of this channel cannot start", partial(_channel, store, name))
    yield Finding(check="versions", ok=True, detail=", ".join(_versions()))


def _finding(name: str, breaks: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(check=name, ok=True, detail=check())
    except (_UnfitError, LookalikeError) as error:
        return Finding(check=name, ok=False, detail=str(error), breaks=breaks)


def _permissions(store: ObjectStore, folder: str) -> str:
    key = f"{folder}permissions"
    store.create(key, b"1")
    store.read(key)
    store.stat(key)
    list(store.list(folder))
    store.delete(key)
    return "objects can be written, read, listed and deleted"


def _create_if_absent(store: ObjectStore, folder: str) -> str:
    for attempt in range(ROUNDS):
        for size in (0, 1000):  # some stores overwrite where the body is empty
            winners = _race(store, f"{folder}race-{attempt}-{size}", size)
            if winners != 1:
                raise _UnfitError(f"{winners} of {WRITERS} writers at once believe that they created the same object")
    return f"of {WRITERS} writers at once one wins, {2 * ROUNDS} times of {2 * ROUNDS}"


def _race(store: ObjectStore, key: str, size: int) -> int:
    start = threading.Barrier(WRITERS)

    def write(writer: int) -> bool:
        start.wait()
        try:
            store.create(key, bytes([writer]) * size)
        except AlreadyExistsError:
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        won = [writer for writer, success in enumerate(pool.map(write, range(WRITERS))) if success]
    if len(won) == 1 and store.read(key) != bytes(won) * size:
        raise _UnfitError("a writer believes that it created an object, and another writer's bytes are there")
    return len(won)


def _read_after_write(store: ObjectStore, folder: str) -> str:
    for number in range(10):
        key = f"{folder}fresh/{number}"
        store.create(key, b"fresh")
        if store.read(key) != b"fresh" or key not in [found.key for found in store.list(f"{folder}fresh/")]:
            raise _UnfitError("an object that was just written is not there yet")
        store.delete(key)
        if _exists(store, key):
            raise _UnfitError("an object that was just deleted is still there")
    return "what was written is there at once, what was deleted is gone at once"


def _abort_upload(store: ObjectStore, folder: str) -> str:
    key = f"{folder}aborted"
    store.abandon(key, b"half of it")
    if _exists(store, key) or key in [found.key for found in store.list(folder)]:
        raise _UnfitError("an upload that was never finished can be seen")
    return "an upload that is never finished is invisible"


def _large_object(store: ObjectStore, folder: str) -> str:
    data = bytes(range(256)) * 4096 * 16
    with tempfile.TemporaryDirectory(prefix="lookalike-doctor-") as scratch:
        file = Path(scratch) / "large"
        file.write_bytes(data)
        started = datetime.now(UTC)
        store.upload(f"{folder}large", file)
        sent = datetime.now(UTC)
        store.download(f"{folder}large", file)
        received = datetime.now(UTC)
        if file.read_bytes() != data:
            raise _UnfitError("an object came back with other bytes than were written")
    up, down = (len(data) / 2**20 / max(1e-3, seconds.total_seconds()) for seconds in (sent - started, received - sent))
    return f"16 MiB come back as they were written; {up:.0f} MiB/s up, {down:.0f} MiB/s down"


def _clock(store: ObjectStore, folder: str) -> str:
    key = f"{folder}clock"
    before = datetime.now(UTC)
    store.create(key, b"")
    after = datetime.now(UTC)
    written = store.stat(key).modified
    skew = max(before - written - timedelta(seconds=1), written - after, timedelta())
    if skew > MAX_SKEW:
        raise _UnfitError(f"the store's clock and this machine's are {skew.total_seconds():.0f} s apart")
    return f"the store's clock and this machine's differ by {skew.total_seconds():.0f} s"


def _channel(store: ObjectStore, name: str) -> str:
    entry = Channel(store, name).current()
    manifest = read_manifest(store, entry.snapshot)
    check_complete(store, manifest)
    return f"points at {manifest.id} with {manifest.products:,} products; all its files are there, in full size"


def _channel_names(store: ObjectStore) -> list[str]:
    try:
        return list_channels(store)
    except LookalikeError:
        return []  # the checks have reported it


def _versions() -> Iterator[str]:
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} is not installed"


def _exists(store: ObjectStore, key: str) -> bool:
    try:
        store.stat(key)
    except NotFoundError:
        return False
    return True


def _clean(store: ObjectStore, folder: str) -> None:
    try:
        for found in list(store.list(folder)):
            store.delete(found.key)
    except LookalikeError:
        pass  # the checks have reported it; the folder is small and says whose it is


_Check = Callable[[ObjectStore, str], str]

_CHECKS: dict[str, tuple[_Check, str]] = {
    "permissions": (_permissions, "reindex cannot publish, or gc cannot clean up"),
    "create if absent": (_create_if_absent, "two reindex runs could both believe that they published: one is lost"),
    "read after write": (_read_after_write, "a server could be pointed at a snapshot that it cannot find"),
    "aborted upload": (_abort_upload, "a server could read half a file after a crash"),
    "large object": (_large_object, "index shards cannot be stored"),
    "clock": (_clock, "gc could take what is young for old; set the clock with NTP"),
}
