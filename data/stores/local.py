"""A folder as an object store."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from data.errors import AlreadyExistsError, NotFoundError, StoreRefusedError, StoreUnavailableError
from data.stores.base import ObjectInfo, check_key

TEMPORARY = ".tmp"  # in the store's own file system, so that a link or a rename is atomic


class LocalStore:
    """Objects are files below `root`; a file appears under its name only when it is complete and synced."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()

    @property
    def uri(self) -> str:
        """The folder's path."""
        return str(self.root)

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        with _translated(key):
            return self._path(key).read_bytes()

    def open(self, key: str) -> BinaryIO:
        """Open the object for seeking and reading in ranges."""
        with _translated(key):
            return self._path(key).open("rb")

    def download(self, key: str, path: Path) -> None:
        """Copy the object to a new file."""
        with _translated(key):
            shutil.copyfile(self._path(key), path)

    def create(self, key: str, data: bytes) -> None:
        """Write if absent: a hard link to a complete file has one winner and leaves nothing torn."""
        target = self._path(key)
        with _translated(key), self._complete_file(target) as temporary:
            temporary.write_bytes(data)
            _sync(temporary)
            os.link(temporary, target)
            _sync(target.parent)

    def upload(self, key: str, path: Path) -> None:
        """Copy, sync, then rename: a reader sees all of it or nothing."""
        target = self._path(key)
        with _translated(key), self._complete_file(target) as temporary:
            shutil.copyfile(path, temporary)
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)

    def stat(self, key: str) -> ObjectInfo:
        """Return size and time of one object."""
        with _translated(key):
            return self._info(self._path(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the folder `prefix`, sorted by key."""
        folder = self._path(prefix.rstrip("/")) if prefix else self.root
        found = [path for path in folder.rglob("*") if path.is_file() and not self._is_temporary(path)]
        for path in sorted(found, key=lambda path: path.relative_to(self.root).as_posix()):
            try:
                yield self._info(path)
            except FileNotFoundError:  # deleted while we listed
                continue

    def delete(self, key: str) -> None:
        """Remove an object; one that is already gone is no error."""
        with _translated(key):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _is_temporary(self, path: Path) -> bool:
        return path.relative_to(self.root).parts[0] == TEMPORARY

    def _info(self, path: Path) -> ObjectInfo:
        stat = path.stat()
        key = path.relative_to(self.root).as_posix()
        return ObjectInfo(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))

    @contextmanager
    def _complete_file(self, target: Path) -> Iterator[Path]:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = self.root / TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / uuid.uuid4().hex
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise AlreadyExistsError(f"{key} already exists") from error
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFoundError(f"the store has no {key}") from error
    except PermissionError as error:
        raise StoreRefusedError(f"{key}: {error.strerror}; check who owns the store's folder") from error
    except OSError as error:
        raise StoreUnavailableError(f"{key}: {error}") from error
