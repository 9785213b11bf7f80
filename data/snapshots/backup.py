"""Backup: copies a store into another one, from a bucket to a folder and back, while runs and servers go on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lookalike.data.errors import NotFoundError
from lookalike.data.snapshots import channels, doctor, leases
from lookalike.data.snapshots.documents import check_is_store
from lookalike.data.stores import ObjectStore

THREADS = 8
_SHORT_LIVED = (leases.FOLDER, leases.ANNOUNCEMENTS, doctor.FOLDER)
"""What is under way means nothing later."""


@dataclass(frozen=True)
class Copied:
    """What a copy did: objects that it wrote, and those that were there already."""

    written: int
    present: int


def copy_store(source: ObjectStore, target: ObjectStore) -> Copied:
    """Copy what the target lacks. Raises `InputError` where the source is no store.

    Channels are listed before all else and written after it. What an entry points at was complete when the entry was
    listed, and is in the target before the entry. So the target can be served at each moment, and a copy that was
    interrupted is continued by the next one.
    """
    check_is_store(source)
    entries = [one.key for one in source.list(channels.FOLDER)]
    left_out = (channels.FOLDER, *_SHORT_LIVED)
    objects = [one.key for one in source.list("") if not one.key.startswith(left_out)]
    present = {one.key for one in target.list("")}
    written = _copy_objects(source, target, (key for key in objects if key not in present))
    for key in entries:
        if key not in present:
            target.create(key, source.read(key))
            written += 1
    return Copied(written, len(objects) + len(entries) - written)


def _copy_objects(source: ObjectStore, target: ObjectStore, keys: Iterable[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="lookalike-copy-") as folder, ThreadPoolExecutor(THREADS) as pool:
        numbered = enumerate(keys)
        return sum(pool.map(lambda one: _copy_object(source, target, one[1], Path(folder) / str(one[0])), numbered))


def _copy_object(source: ObjectStore, target: ObjectStore, key: str, file: Path) -> bool:
    try:
        source.download(key, file)
    except NotFoundError:  # collected since it was listed: nothing that is copied needs it
        return False
    target.upload(key, file)
    file.unlink()
    return True
