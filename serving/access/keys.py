"""API keys: `lk_`, a public id, a secret of 256 bits. Only the secret's SHA-256 is ever stored.

Slow hashes protect what people can remember. Nobody guesses 256 random bits, so a fast hash is as safe, and a slow one
would only let strangers keep the processors busy.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from lookalike.data.errors import InputError
from lookalike.serving.context import AccessScope

PREFIX = "lk_"
_WRITTEN = re.compile(r"lk_([0-9a-f]{10})_([A-Za-z0-9_-]{43})")
_NOBODYS = hashlib.sha256(b"nobody's").hexdigest()


class KeyFault(StrEnum):
    """Why a key does not open anything."""

    MALFORMED = "malformed_key"
    UNKNOWN = "unknown_key"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - the name of a fault
    EXPIRED = "expired_key"


class ApiKey(BaseModel):
    """A key as it is stored: everything but the secret."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str = Field(pattern=r"^[0-9a-f]{10}$")
    name: str = Field(min_length=1, max_length=100)
    scopes: tuple[AccessScope, ...] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("a name is one line of printable characters")
        return name

    def expired(self, now: datetime) -> bool:
        """Tell whether the key's time is over."""
        return self.expires_at is not None and now >= self.expires_at


class KeysDocument(BaseModel):
    """What a keys file holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    format: Literal[1] = 1
    keys: tuple[ApiKey, ...] = ()

    @field_validator("keys")
    @classmethod
    def _each_once(cls, keys: tuple[ApiKey, ...]) -> tuple[ApiKey, ...]:
        twice = [name for name, count in Counter(key.id for key in keys).items() if count > 1]
        if twice:
            raise ValueError(f"key {twice[0]} is there twice")
        return keys


class KeyRing:
    """Finds the key that a caller sent."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = {key.id: key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    def valid(self, now: datetime) -> int:
        """Return how many keys have not expired."""
        return sum(not key.expired(now) for key in self._keys.values())

    def find(self, text: str, now: datetime) -> ApiKey | KeyFault:
        """Return the key that `text` is, or why it is none. An unknown id takes as long as a wrong secret."""
        written = _WRITTEN.fullmatch(text)
        if written is None:
            return KeyFault.MALFORMED
        key = self._keys.get(written[1])
        same = hmac.compare_digest(key.sha256 if key else _NOBODYS, _digest(written[2]))
        if key is None:
            return KeyFault.UNKNOWN
        if not same:
            return KeyFault.WRONG_SECRET
        return KeyFault.EXPIRED if key.expired(now) else key


def create_key(
    name: str, scopes: Iterable[AccessScope], *, lifetime: timedelta | None = None, now: datetime | None = None
) -> tuple[ApiKey, str]:
    """Return a new key as it is stored, and as its owner keeps it. Raises `InputError`."""
    created = (now or datetime.now(UTC)).replace(microsecond=0)
    secret = secrets.token_urlsafe(32)
    try:
        key = ApiKey(
            id=secrets.token_hex(5),
            name=name,
            scopes=tuple(sorted(set(scopes))),
            sha256=_digest(secret),
            created_at=created,
            expires_at=created + lifetime if lifetime else None,
        )
    except ValidationError as error:
        raise InputError(f"such a key cannot be: {_first(error)}") from error
    except OverflowError as error:
        raise InputError("such a key cannot be: it would outlive the calendar") from error
    return key, f"{PREFIX}{key.id}_{secret}"


def parse_keys(text: str | bytes, where: str) -> tuple[ApiKey, ...]:
    """Return the keys of a document; `where` names it in errors. Raises `InputError`."""
    try:
        return KeysDocument.model_validate_json(text).keys
    except ValidationError as error:
        raise InputError(f"{where} holds no keys that can be read: {_first(error)}") from error


def claimed_id(text: str) -> str:
    """Return the public half of what looks like a key, `-` for anything else: never a part of a secret."""
    written = _WRITTEN.fullmatch(text)
    return written[1] if written else "-"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    words = first["msg"].removeprefix("Value error, ")
    return f"{place}: {words}" if place else words
