"""API keys: `lk_`, a public id, a secret of 256 bits. Only the secret's SHA-256 is ever stored.

Slow hashes protect what people can remember. Nobody guesses 256 random bits, so a fast hash is as safe, and a slow one
would only let strangers keep the processors busy.

The keys file is one JSON document, replaced in one step and readable by its owner only. A server reads it again when it
changes.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import hmac
import logging
import math
import os
import re
import secrets
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from lookalike.data.errors import InputError
from lookalike.serving.background import in_thread
from lookalike.serving.context import AccessScope
from lookalike.serving.settings import Access
from lookalike.serving.telemetry.metrics import Metrics

PREFIX = "lk_"
_WRITTEN = re.compile(r"lk_([0-9a-f]{10})_([A-Za-z0-9_-]{43})")
_NOBODYS = hashlib.sha256(b"nobody's").hexdigest()

OWNER_ONLY = 0o600

CHECK_SECONDS = 1.0

_log = logging.getLogger(__name__)


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

    def next_expiry(self, now: datetime) -> float:
        """Return when the first of the valid keys expires, as a timestamp; infinite where none does."""
        ends = (key.expires_at.timestamp() for key in self._keys.values() if key.expires_at and not key.expired(now))
        return min(ends, default=math.inf)

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


def read_keys(file: Path) -> tuple[ApiKey, ...]:
    """Return the keys in a file. Raises `InputError` for one that is not there or cannot be read."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"the keys file {file} cannot be read: {error.strerror or error}") from error
    return parse_keys(content, f"the keys file {file}")


def add_key(file: Path, key: ApiKey) -> None:
    """Add a key to a file, which is made where there is none. Raises `InputError`."""
    with _alone(file):
        before = read_keys(file) if file.exists() else ()
        _replace(file, (*before, key))


def remove_key(file: Path, wanted: str) -> ApiKey:
    """Remove the key whose id is `wanted` from a file, and return it. Raises `InputError` where there is none."""
    with _alone(file):
        keys = read_keys(file)
        found = next((key for key in keys if key.id == wanted), None)
        if found is None:
            raise InputError(f"there is no key {wanted!r} in {file}: `lookalike keys list` shows them")
        _replace(file, tuple(key for key in keys if key is not found))
    return found


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Two that write at once would lose one's key."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(file.with_name(f".{file.name}.lock"), os.O_CREAT | os.O_RDWR, OWNER_ONLY)
    except OSError as error:
        raise InputError(f"the keys file {file} cannot be written: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _replace(file: Path, keys: tuple[ApiKey, ...]) -> None:
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    document = KeysDocument(keys=keys).model_dump_json(indent=2)
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY), "w") as written:
            written.write(f"{document}\n")
            written.flush()
            os.fsync(written.fileno())
        temporary.replace(file)
    except OSError as error:
        raise InputError(f"the keys file {file} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


class KeySource:
    """The keys that count now. A file that became unusable changes nothing: the last good keys stay."""

    def __init__(self, access: Access, metrics: Metrics) -> None:
        """Read all keys once. Raises `InputError` where that fails: a server without its keys must not start."""
        self._file = access.keys_file.expanduser() if access.keys_file else None
        self._given = parse_keys(access.keys, "LOOKALIKE_ACCESS__KEYS") if access.keys else ()
        self._metrics = metrics
        self._problem = ""
        self._seen: tuple[ApiKey, ...] = ()
        self.ring = KeyRing()
        self._take(read_keys(self._file) if self._file else ())

    async def run(self) -> None:
        """Look at the file for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self._file is not None:
                await self._look(self._file)
            self._count()

    async def _look(self, file: Path) -> None:
        try:
            found = await in_thread(lambda: read_keys(file), name="read keys")
        except InputError as error:
            self._metrics.keys_readable.set(0)
            if str(error) != self._problem:
                _log.error("%s; the %d keys known before stay valid", error, len(self.ring))
            self._problem = str(error)
            return
        if found != self._seen or self._problem:
            self._take(found)
            _log.info("the keys file was read: %d keys", len(self.ring))

    def _take(self, found: tuple[ApiKey, ...]) -> None:
        self._seen, self._problem = found, ""
        self.ring = KeyRing((*self._given, *found))
        self._metrics.keys_readable.set(1)
        self._count()

    def _count(self) -> None:
        now = datetime.now(UTC)
        self._metrics.keys.set(self.ring.valid(now))
        self._metrics.keys_expire.set(self.ring.next_expiry(now))
