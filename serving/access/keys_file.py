"""The keys file: one JSON document, replaced in one step, readable by its owner only."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lookalike.data.errors import InputError
from lookalike.serving.access.keys import ApiKey, KeysDocument, parse_keys

OWNER_ONLY = 0o600


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
