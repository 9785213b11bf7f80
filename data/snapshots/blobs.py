"""Blobs: immutable bytes under the name of their own sha256."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lookalike.data.errors import CorruptError, NotFoundError
from lookalike.data.stores import ObjectStore


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
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return Blob(sha256=digest.hexdigest(), size=path.stat().st_size)


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


def _is_stored(store: ObjectStore, blob: Blob) -> bool:
    try:
        return store.stat(blob.key).size == blob.size
    except NotFoundError:
        return False
