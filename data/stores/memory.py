"""An object store in memory, for tests and for models of what a store does."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from lookalike.data.errors import AlreadyExistsError, NotFoundError
from lookalike.data.stores.base import ObjectInfo, check_key, check_prefix


class MemoryStore:
    """Objects are entries of a dictionary."""

    uri = "memory://"

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._lock = threading.Lock()

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        return self._entry(key)[0]

    def open(self, key: str) -> BinaryIO:
        """Open the object for seeking and reading in ranges."""
        return io.BytesIO(self.read(key))

    def download(self, key: str, path: Path) -> None:
        """Write the object to a new file."""
        path.write_bytes(self.read(key))

    def create(self, key: str, data: bytes) -> None:
        """Write if absent."""
        with self._lock:
            if check_key(key) in self._objects:
                raise AlreadyExistsError(f"{key} already exists")
            self._objects[key] = (data, datetime.now(UTC))

    def upload(self, key: str, path: Path) -> None:
        """Keep a file's bytes."""
        with self._lock:
            self._objects[check_key(key)] = (path.read_bytes(), datetime.now(UTC))

    def stat(self, key: str) -> ObjectInfo:
        """Return size and time of one object."""
        data, modified = self._entry(key)
        return ObjectInfo(key, len(data), modified)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the folder `prefix`, sorted by key."""
        check_prefix(prefix)
        with self._lock:
            objects = sorted(self._objects.items())
        for key, (data, modified) in objects:
            if key.startswith(prefix):
                yield ObjectInfo(key, len(data), modified)

    def delete(self, key: str) -> None:
        """Remove an object; one that is already gone is no error."""
        with self._lock:
            self._objects.pop(check_key(key), None)

    def sweep(
        self, before: datetime, *, is_ours: Callable[[str], bool] = lambda _key: True, dry_run: bool = False
    ) -> int:
        """Nothing is ever half-written here."""
        return 0

    def abandon(self, key: str, data: bytes) -> None:
        """Nothing is ever half-written here."""
        check_key(key)

    def _entry(self, key: str) -> tuple[bytes, datetime]:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise NotFoundError(f"the store has no {key}") from None
