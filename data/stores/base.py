"""The object store: the few operations that everything stored is built from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from lookalike.data.errors import InputError


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing tells about one object.

    Attributes:
        key: name inside the store, with `/` between its parts.
        size: bytes.
        modified: when it was written, in UTC.
    """

    key: str
    size: int
    modified: datetime


class ObjectStore(Protocol):
    """Immutable objects under names. Nothing is ever overwritten, and nothing half-written is ever visible.

    Every method raises `StoreRefusedError` where the store says no and `StoreUnavailableError` where it does
    not answer; after the latter the outcome of a write is unknown.
    """

    @property
    def uri(self) -> str:
        """Where the store is, as `lookalike.data.stores.open_store` takes it."""
        ...

    def read(self, key: str) -> bytes:
        """Return the whole object. Raises `NotFoundError`."""
        ...

    def open(self, key: str) -> BinaryIO:
        """Open the object for seeking and reading in ranges. Raises `NotFoundError`."""
        ...

    def download(self, key: str, path: Path) -> None:
        """Stream the object into a new file at `path`. Raises `NotFoundError`."""
        ...

    def create(self, key: str, data: bytes) -> None:
        """Write a small object if, and only if, its name is free. Raises `AlreadyExistsError`.

        Among any number of writers at once exactly one succeeds.
        """
        ...

    def upload(self, key: str, path: Path) -> None:
        """Stream a file into an object whose name says its content, so that writing it twice is harmless."""
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Return size and time of one object. Raises `NotFoundError`."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield each object whose key starts with the folder `prefix` (ends in `/`, or is empty), sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is already gone is no error."""
        ...

    def sweep(
        self, before: datetime, *, is_ours: Callable[[str], bool] = lambda _key: True, dry_run: bool = False
    ) -> int:
        """Remove what writers that died before then left behind, which no other method shows; return its bytes.

        Where a store knows for which key something was being written, only keys that `is_ours` accepts are removed.
        """
        ...

    def abandon(self, key: str, data: bytes) -> None:
        """Begin an upload, and do as if the process died in the middle of it: to prove that nobody sees it."""
        ...


def check_key(key: str) -> str:
    """Return `key` if it stays inside the store. Raises `InputError`.

    No part may be empty or begin with a dot: such names mean different objects in a folder and in a bucket.
    """
    if not key or "\\" in key or "\0" in key or any(not part or part.startswith(".") for part in key.split("/")):
        raise InputError(f"{key!r} is not a name inside the store")
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` if it is empty or a folder inside the store, ending in `/`. Raises `InputError`."""
    if prefix and (not prefix.endswith("/") or check_key(prefix[:-1]) != prefix[:-1]):
        raise InputError(f"{prefix!r} is not a folder inside the store: it must end in '/'")
    return prefix
