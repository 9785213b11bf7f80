"""A folder as an object store."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from lookalike.data.errors import AlreadyExistsError, NotFoundError, StoreRefusedError, StoreUnavailableError
from lookalike.data.stores.base import ObjectInfo, check_key, check_prefix

_TEMPORARY_NAME = re.compile("[0-9a-f]{32}")
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
        with _translate_errors(key):
            return self._path(key).read_bytes()

    def open(self, key: str) -> BinaryIO:
        """Open the object for seeking and reading in ranges."""
        with _translate_errors(key):
            return self._path(key).open("rb")

    def download(self, key: str, path: Path) -> None:
        """Copy the object to a new file."""
        with _translate_errors(key):
            shutil.copyfile(self._path(key), path)

    def create(self, key: str, data: bytes) -> None:
        """Write if absent: a hard link to a complete file has one winner and leaves nothing torn."""
        target = self._path(key)
        with _translate_errors(key), self._complete_file(target) as temporary:
            temporary.write_bytes(data)
            _sync(temporary)
            os.link(temporary, target)
            _sync(target.parent)

    def upload(self, key: str, path: Path) -> None:
        """Copy, sync, then rename: a reader sees all of it or nothing."""
        target = self._path(key)
        with _translate_errors(key), self._complete_file(target) as temporary:
            shutil.copyfile(path, temporary)
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)

    def stat(self, key: str) -> ObjectInfo:
        """Return size and time of one object."""
        with _translate_errors(key):
            path = self._path(key)
            if path.is_dir():
                raise IsADirectoryError(path)
            return self._info(path)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the folder `prefix`, sorted by key."""
        folder = self.root / check_prefix(prefix)
        found = [path for path in folder.rglob("*") if path.is_file() and not self._is_temporary(path)]
        for path in sorted(found, key=lambda path: path.relative_to(self.root).as_posix()):
            try:
                yield self._info(path)
            except FileNotFoundError:  # deleted while we listed
                continue

    def delete(self, key: str) -> None:
        """Remove an object; one that is already gone is no error."""
        with _translate_errors(key):
            self._path(key).unlink(missing_ok=True)

    def sweep(
        self, before: datetime, *, is_ours: Callable[[str], bool] = lambda _key: True, dry_run: bool = False
    ) -> int:
        """Remove temporary files that no living writer can still be filling."""
        freed = 0
        for path in (self.root / TEMPORARY).glob("*"):
            if not _TEMPORARY_NAME.fullmatch(path.name):  # nothing that we wrote
                continue
            with suppress(FileNotFoundError):  # its writer is alive after all, and done with it
                stat = path.stat()
                if stat.st_mtime < before.timestamp():
                    freed += stat.st_size
                    if not dry_run:
                        path.unlink()
        return freed

    def abandon(self, key: str, data: bytes) -> None:
        """Leave a temporary file."""
        check_key(key)
        with _translate_errors(key):
            folder = self.root / TEMPORARY
            folder.mkdir(parents=True, exist_ok=True)
            (folder / uuid.uuid4().hex).write_bytes(data)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _is_temporary(self, path: Path) -> bool:
        return path.relative_to(self.root).parts[0] == TEMPORARY

    def _info(self, path: Path) -> ObjectInfo:
        stat = path.stat()
        key = path.relative_to(self.root).as_posix()
        return ObjectInfo(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))

    def _make_folder(self, folder: Path) -> None:
        """Make a folder that outlives a loss of power: its name is synced, in the folder above it."""
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            _sync(folder.parent)

    @contextmanager
    def _complete_file(self, target: Path) -> Iterator[Path]:
        folder = self.root / TEMPORARY
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._make_folder(target.parent)
        except (FileExistsError, NotADirectoryError) as error:
            raise StoreRefusedError(f"{error.filename} is a file where the store needs a folder") from error
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
def _translate_errors(key: str) -> Iterator[None]:
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
