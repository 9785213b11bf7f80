"""A local cache of blobs: what a reader maps into memory lies here, checked, and outlives the store."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.stores import ObjectStore

_NAME = re.compile("[0-9a-f]{64}([.][0-9a-f]{32}[.]partial)?")  # what others put into the folder is not ours to remove
GRACE_SECONDS = 3600  # another process may just be about to open what we would remove


class BlobCache:
    """Blobs as local files under their sha256.

    A file is checked when it arrives, and once more by each process that finds it there: the disk it lies on may
    have lost power, or a bit. It belongs to this cache alone, so that nothing that happens to the store can change
    or truncate it under a reader that has it mapped.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.fetched_bytes = 0
        self._checked: set[str] = set()

    def get(self, store: ObjectStore, blob: Blob) -> Path:
        """Return a local file with the blob's bytes. Raises `CorruptError`, `NotFoundError`."""
        path = self.folder / blob.sha256
        if self._is_good(path, blob):
            os.utime(path)
            return path
        partial = self.folder / f"{blob.sha256}.{uuid.uuid4().hex}.partial"
        try:
            blobs.fetch(store, blob, partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        self.fetched_bytes += blob.size
        self._checked.add(blob.sha256)
        return path

    def holds(self, needed: Iterable[Blob]) -> bool:
        """Tell whether all of these are here, by their sizes: `get` checks the bytes."""
        return all(self._has_size(self.folder / blob.sha256, blob.size) for blob in needed)

    def _is_good(self, path: Path, blob: Blob) -> bool:
        if not self._has_size(path, blob.size):
            return False
        if blob.sha256 not in self._checked:
            if blobs.describe(path) != blob:
                return False
            self._checked.add(blob.sha256)
        return True

    @staticmethod
    def _has_size(path: Path, size: int) -> bool:
        try:
            return path.stat().st_size == size
        except FileNotFoundError:
            return False

    def keep_only(self, needed: Iterable[Blob]) -> None:
        """Remove blobs that are not needed and have not been asked for lately; open maps of them stay valid.

        Files of any other name stay: the folder may be somebody's own.
        """
        names = {blob.sha256 for blob in needed}
        oldest = time.time() - GRACE_SECONDS
        for path in self.folder.iterdir():
            if _NAME.fullmatch(path.name) and path.name not in names and path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
