"""Checksummed documents: small JSON files that carry the sha256 of everything else in them.

One of them is the marker, which says that a folder or a bucket's prefix is a store of Lookalike. The first writer of a
snapshot creates it. What deletes asks for it first, because a wrong path or prefix would otherwise be enough to delete
what belongs to somebody else.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError, computed_field

from lookalike.data.errors import (
    AlreadyExistsError,
    CorruptError,
    NotAStoreError,
    NotFoundError,
    UnsupportedFormatError,
)
from lookalike.data.stores import ObjectStore

FORMAT_VERSION = 1  # of docs/format.md
MARKER = "lookalike-store.json"
ACTOR = "LOOKALIKE_ACTOR"
LONGEST_ACTOR = 200  # letters


class ChecksummedDocument(BaseModel):
    """A document whose checksum shows when a single bit of it flips. `format` is the version that it is written in."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT_VERSION

    @computed_field  # type: ignore[prop-decorator]
    @property
    def checksum(self) -> str:
        """The sha256 of all other fields."""
        return checksum(json.loads(self.model_dump_json(exclude={"checksum"})))

    def to_json(self) -> bytes:
        """Return the document as it is stored."""
        return self.model_dump_json(indent=2).encode()

    @classmethod
    def from_json(cls, data: bytes, name: str) -> Self:
        """Return the document in `data`. Raises `UnsupportedFormatError`, `CorruptError` naming `name`."""
        try:
            return cls.model_validate(read_document(data, name))
        except ValidationError as error:
            raise CorruptError(f"{name} is damaged: {error}") from error


def checksum(document: dict[str, Any]) -> str:
    """Return the sha256 of a document in its canonical form: all fields but `checksum`, sorted, without white space."""
    rest = {name: value for name, value in document.items() if name != "checksum"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def read_document(data: bytes, name: str) -> dict[str, Any]:
    """Return the document in `data` without its checksum, if this release reads its format.

    Raises `UnsupportedFormatError`, and `CorruptError` if the checksum does not match. Both name `name`.
    """
    document, version = _parse(data, name)
    if isinstance(version, int) and version > FORMAT_VERSION:  # first: a newer format may have another checksum
        raise UnsupportedFormatError(
            f"{name} has format version {version}, this release reads {FORMAT_VERSION}: upgrade Lookalike"
        )
    return _verify_checksum(document, name)


def read_any_format(data: bytes, name: str) -> dict[str, Any]:
    """Return the document in `data` without its checksum, of any format that has one like ours.

    Raises `CorruptError` naming `name`.
    """
    return _verify_checksum(_parse(data, name)[0], name)


def _parse(data: bytes, name: str) -> tuple[dict[str, Any], Any]:
    try:
        document = json.loads(data)
        version, _ = document["format"], document["checksum"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptError(f"{name} is damaged: it is no checksummed document: {error!r}") from error
    return document, version


def _verify_checksum(document: dict[str, Any], name: str) -> dict[str, Any]:
    if checksum(document) != document.pop("checksum"):
        raise CorruptError(f"{name} is damaged: its checksum does not match what it says")
    return document


def this_actor() -> str:
    """Return who does what is done here: as `LOOKALIKE_ACTOR` says, else user@host, which many may share."""
    if named := os.environ.get(ACTOR):
        return named[:LONGEST_ACTOR]
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


class StoreMarker(ChecksummedDocument):
    """Since when a place is a store, and who made it one."""

    created_at: AwareDatetime
    created_by: str


def mark_store(store: ObjectStore) -> None:
    """Make the place a store, unless it is one."""
    try:
        store.stat(MARKER)
    except NotFoundError:
        with suppress(AlreadyExistsError):  # another writer was faster
            store.create(MARKER, StoreMarker(created_at=datetime.now(UTC), created_by=this_actor()).to_json())


def check_is_store(store: ObjectStore) -> StoreMarker:
    """Return the store's marker. Raises `NotAStoreError`, `CorruptError`, `UnsupportedFormatError`."""
    try:
        return StoreMarker.from_json(store.read(MARKER), MARKER)
    except NotFoundError as error:
        raise NotAStoreError(
            f"{store.uri} is no store of Lookalike, for it has no {MARKER}: nothing was changed. Check the store's "
            "address (--store or LOOKALIKE_STORE). The first reindex makes a place a store"
        ) from error
