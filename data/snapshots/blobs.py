"""Blobs: immutable bytes under the name of their own sha256, in the store and in a local cache.

What a reader maps into memory lies in the cache, checked, and outlives the store.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lookalike.data.errors import CacheError, CorruptError, NotFoundError, StoreError
from lookalike.data.stores import ObjectStore

GRACE_SECONDS = 3600  # another process may just be about to open what the cache would remove
_OF_A_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
"""What only writing the local file can raise while an object is read."""
_NAME = re.compile("[0-9a-f]{64}([.][0-9a-f]{32}[.]partial|[.][a-z0-9]+[.][0-9a-f]{32})?")
"""Of our own files, what is made from blobs included: what others put into the cache's folder stays there."""


class Blob(BaseModel):
    """A reference to bytes in the store; two equal blobs are one object.

    Attributes:
        sha256: of the bytes, 64 hexadecimal digits.
        size: bytes.
    """

    model_config = ConfigDict(frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)

    @property
    def key(self) -> str:
        """The object's name in the store."""
        return f"objects/sha256/{self.sha256[:2]}/{self.sha256}"


def describe(path: Path) -> Blob:
    """Return the reference to a local file's bytes."""
    return Blob(sha256=_hash_file(path), size=path.stat().st_size)


def put_file(store: ObjectStore, path: Path) -> Blob:
    """Bring a local file into the store, unless its bytes are there already."""
    blob = describe(path)
    if not _is_stored(store, blob):
        store.upload(blob.key, path)
    return blob


def put_bytes(store: ObjectStore, data: bytes) -> Blob:
    """Bring bytes into the store, unless they are there already."""
    with tempfile.NamedTemporaryFile(prefix="lookalike-") as file:
        file.write(data)
        file.flush()
        return put_file(store, Path(file.name))


def fetch(store: ObjectStore, blob: Blob, path: Path) -> None:
    """Stream a blob into a new file and check every byte of it. Raises `CorruptError`, `NotFoundError`."""
    store.download(blob.key, path)
    found = describe(path)
    if found != blob:
        path.unlink(missing_ok=True)
        raise CorruptError(
            f"{blob.key} is damaged: it holds {found.size} bytes with sha256 {found.sha256[:12]}…, "
            f"the manifest promises {blob.size} bytes with {blob.sha256[:12]}…"
        )


def read(store: ObjectStore, blob: Blob) -> bytes:
    """Return a blob's bytes, checked. Raises `CorruptError`, `NotFoundError`."""
    with tempfile.TemporaryDirectory(prefix="lookalike-") as folder:
        path = Path(folder) / blob.sha256
        fetch(store, blob, path)
        return path.read_bytes()


def check(store: ObjectStore, blob: Blob) -> None:
    """Read every byte of a blob. Raises `CorruptError`, `NotFoundError`."""
    with tempfile.TemporaryDirectory(prefix="lookalike-") as folder:
        fetch(store, blob, Path(folder) / blob.sha256)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_stored(store: ObjectStore, blob: Blob) -> bool:
    try:
        return store.stat(blob.key).size == blob.size
    except NotFoundError:
        return False


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
        """Return a local file with the blob's bytes. Raises `CacheError`, `CorruptError`, `NotFoundError`."""
        path = self.folder / blob.sha256
        if self._is_good(path, blob):
            os.utime(path)
            return path
        with self._explain_failure(), self._writing(blob) as target:
            fetch(store, blob, target)
            target.replace(path)
        self.fetched_bytes += blob.size
        self._checked.add(blob.sha256)
        return path

    def get_made(self, store: ObjectStore, blob: Blob, kind: str, make: Callable[[Path, Path], None]) -> Path:
        """Return a local file that `make` makes of a blob: given the blob's file, it writes another one.

        It is made once, by whichever process is first, one file at a time, while others wait. Its name holds its own
        hash, so that it is checked as blobs are, and it stays as long as its blob does. `kind` names what it is, in
        small letters and digits: what another release makes in another way has another kind. Raises what `get` and
        `make` raise.
        """
        found = self._find_made(blob, kind)
        if found is not None:
            return found
        source = self.get(store, blob)
        with self._explain_failure(), self._locked():
            return self._find_made(blob, kind) or self._make(blob, kind, partial(make, source))

    def _find_made(self, blob: Blob, kind: str) -> Path | None:
        for path in self.folder.glob(f"{blob.sha256}.{kind}.*"):
            with suppress(FileNotFoundError):  # another process may have removed it
                if path.name in self._checked or _hash_file(path).startswith(path.suffix[1:]):
                    os.utime(path)
                    self._checked.add(path.name)
                    return path
                path.unlink()
        return None

    def _make(self, blob: Blob, kind: str, make: Callable[[Path], None]) -> Path:
        with self._writing(blob) as target:
            make(target)
            with target.open("rb") as file:
                os.fsync(file.fileno())
            path = self.folder / f"{blob.sha256}.{kind}.{_hash_file(target)[:32]}"
            target.replace(path)
        self._checked.add(path.name)
        return path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time make files here; a process that ends, however it ends, lets the lock go."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    @contextmanager
    def _writing(self, blob: Blob) -> Iterator[Path]:
        """Yield a new file to write to, and remove it if it still has this name at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
        path = self.folder / f"{blob.sha256}.{uuid.uuid4().hex}.partial"
        path.touch()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def holds(self, needed: Iterable[Blob]) -> bool:
        """Tell whether all of these are here, by their sizes: `get` checks the bytes."""
        return all(self._has_size(self.folder / blob.sha256, blob.size) for blob in needed)

    def _is_good(self, path: Path, blob: Blob) -> bool:
        if not self._has_size(path, blob.size):
            return False
        if blob.sha256 not in self._checked:
            if describe(path) != blob:
                return False
            self._checked.add(blob.sha256)
        return True

    @staticmethod
    def _has_size(path: Path, size: int) -> bool:
        try:
            return path.stat().st_size == size
        except (FileNotFoundError, NotADirectoryError):
            return False

    @contextmanager
    def _explain_failure(self) -> Iterator[None]:
        """Say of errors of this machine's disk that they are the cache's: stores report them as their own."""
        try:
            yield
        except (OSError, StoreError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and (error is cause or self._is_of_this_disk(cause)):
                raise CacheError(
                    f"the local cache {self.folder} cannot be written: {cause.strerror or cause}; free space there, or "
                    "name another folder in LOOKALIKE_CACHE"
                ) from error
            raise

    def _is_of_this_disk(self, error: OSError) -> bool:
        names = (error.filename, error.filename2)
        return error.errno in _OF_A_DISK or any(str(name).startswith(str(self.folder)) for name in names if name)

    def keep_only(self, needed: Iterable[Blob], *, grace_seconds: float = GRACE_SECONDS) -> None:
        """Remove blobs that are not needed and have not been asked for lately; open maps of them stay valid.

        What is being fetched keeps its hour, so that no other process loses it. Files of any other name stay: the
        folder may be somebody's own.
        """
        names = {blob.sha256 for blob in needed}
        now = time.time()
        for path in self.folder.iterdir() if self.folder.exists() else ():
            is_partial = path.suffix == ".partial"
            is_needed = not is_partial and path.name.partition(".")[0] in names
            grace = GRACE_SECONDS if is_partial else grace_seconds
            if _NAME.fullmatch(path.name) and not is_needed and path.stat().st_mtime < now - grace:
                path.unlink(missing_ok=True)
