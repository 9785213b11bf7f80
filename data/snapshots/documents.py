"""Sealed documents: small JSON files that carry the sha256 of everything else in them."""

from __future__ import annotations

import getpass
import hashlib
import json
import socket
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, computed_field

from lookalike.data.errors import CorruptError, UnsupportedFormatError

FORMAT_VERSION = 3  # the newest that this release reads
WRITTEN_FORMAT = 1  # of all that readers of 1 understand


class Sealed(BaseModel):
    """A document that shows it when a single bit of it flips. `format` is the version that it is written in."""

    model_config = ConfigDict(frozen=True)

    format: int = WRITTEN_FORMAT

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
            return cls.model_validate(unsealed(data, name))
        except ValidationError as error:
            raise CorruptError(f"{name} is damaged: {error}") from error


def checksum(document: dict[str, Any]) -> str:
    """Return the sha256 of a document in its canonical form: all fields but `checksum`, sorted, without white space."""
    rest = {name: value for name, value in document.items() if name != "checksum"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def unsealed(data: bytes, name: str) -> dict[str, Any]:
    """Return a document whose seal holds and whose format we read. Raises as `Sealed.from_json` does."""
    try:
        document = json.loads(data)
        promised, version = document["checksum"], document["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptError(f"{name} is damaged: it is no sealed document: {error!r}") from error
    if isinstance(version, int) and version > FORMAT_VERSION:  # first: a newer release may seal in another way
        raise UnsupportedFormatError(
            f"{name} has format version {version}, this release reads {FORMAT_VERSION}: upgrade Lookalike"
        )
    if checksum(document) != promised:
        raise CorruptError(f"{name} is damaged: its checksum does not match what it says")
    found: dict[str, Any] = document
    return found


def this_actor() -> str:
    """Return who does what is done here: user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
