"""Images where the catalogue says they are: local files, objects in S3, and what an allowed web server has."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lookalike.data.errors import FetchError, ImageRejectedError, NotFoundError, StoreError
from lookalike.data.fetch.addresses import shown
from lookalike.data.fetch.policy import HOSTS_SETTING, FetchPolicy

MAX_BYTES = 64 * 2**20


def read_image(reference: str, *, max_bytes: int = MAX_BYTES, policy: FetchPolicy | None = None) -> bytes:
    """Return an image's bytes.

    Args:
        reference: an absolute path, `file://…`, `s3://bucket/key`, `http://…` or `https://…`.
        max_bytes: a larger file is refused before it is read.
        policy: what may be fetched over HTTP; its own `max_bytes` holds, too. Without one, nothing may.

    Raises:
        ImageRejectedError: `missing`, `unreadable`, `too_many_bytes` or `unsupported_reference`; over HTTP also
            `bad_url`, `host_not_allowed`, `private_address`, `forbidden`, `unreachable` or `too_many_redirects`.
        InputError: the policy names certificates that this machine does not have.
    """
    if _is_remote(reference):
        return _read_remote(reference, max_bytes, policy)
    with _rejecting(reference):
        data = _read_s3(reference, max_bytes + 1) if _is_s3(reference) else _read_file(reference, max_bytes + 1)
    if len(data) > max_bytes:
        del data  # an error keeps what its frames hold
        raise ImageRejectedError("too_many_bytes", f"{reference} has more bytes than the limit, {max_bytes:,}")
    return data


def image_version(reference: str, *, policy: FetchPolicy | None = None) -> str | None:
    """Return what changes when the image does, without reading it: size and time, or the ETag.

    None where a web server says neither: only reading the image tells. Raises as `read_image` does.
    """
    if _is_remote(reference):
        return _remote_version(reference, policy)
    with _rejecting(reference):
        if _is_s3(reference):
            return _s3_object_version(reference)
        found = os.stat(_local_name(reference))  # noqa: PTH116 - a path costs as much as a look
        if not stat.S_ISREG(found.st_mode):
            raise ImageRejectedError("unreadable", f"{reference} is no file")
        return stat_version(found)


def stat_version(found: os.stat_result) -> str:
    """Return a local file's version: its size in bytes and its time in nanoseconds."""
    return f"{found.st_size}-{found.st_mtime_ns}"


def s3_version(entry: dict[str, Any]) -> str:
    """Return an object's version from its listing: its size and its ETag."""
    return f"{entry['size']}-{str(entry.get('ETag', '')).strip(chr(34))}"


def _read_file(reference: str, limit: int) -> bytes:
    # without waiting: a pipe that nobody writes to would never open
    with open(_local_name(reference), "rb", opener=_open_at_once) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ImageRejectedError("unreadable", f"{reference} is no file")
        return file.read(min(limit, found.st_size + 1))  # asked for more, Python makes room for all of it


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _read_s3(reference: str, limit: int) -> bytes:
    from lookalike.data.stores.s3 import file_system, translate_errors  # noqa: PLC0415 - a local catalogue need not import boto

    with translate_errors(reference):
        try:
            data: bytes = file_system().cat_file(reference, start=0, end=limit)
        except OSError as error:
            if _is_empty(error):
                return b""
            raise
    return data


def _is_empty(error: OSError) -> bool:
    """An empty object has no first byte to begin a range at: 416."""
    response: dict[str, Any] = getattr(error.__cause__, "response", {})
    return response.get("Error", {}).get("Code") in {"InvalidRange", "416"}


def _s3_object_version(reference: str) -> str:
    from lookalike.data.stores.s3 import file_system, translate_errors  # noqa: PLC0415 - a local catalogue need not import boto

    with translate_errors(reference):
        return s3_version(file_system().info(reference, refresh=True))


@contextmanager
def _rejecting(reference: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        raise ImageRejectedError("missing", f"there is no file at {reference}") from error
    except (OSError, StoreError, ValueError) as error:  # ValueError: a name with a zero byte
        raise ImageRejectedError("unreadable", f"{reference} cannot be read: {error}") from error


def _read_remote(reference: str, max_bytes: int, policy: FetchPolicy | None) -> bytes:
    from lookalike.data.fetch.client import fetch  # noqa: PLC0415 - a local catalogue need not import an HTTP client

    allowed = _policy(reference, policy)
    with _fetching():
        return fetch(reference, allowed, max_bytes=min(max_bytes, allowed.max_bytes))


def _remote_version(reference: str, policy: FetchPolicy | None) -> str | None:
    from lookalike.data.fetch.client import remote_version  # noqa: PLC0415 - a local catalogue need not import an HTTP client

    with _fetching():
        return remote_version(reference, _policy(reference, policy))


def _policy(reference: str, policy: FetchPolicy | None) -> FetchPolicy:
    if policy is None:
        message = f"{shown(reference)}: images over HTTP come from allowed hosts only: name them in {HOSTS_SETTING}"
        raise ImageRejectedError("host_not_allowed", message)
    return policy


@contextmanager
def _fetching() -> Iterator[None]:
    try:
        yield
    except FetchError as error:
        raise ImageRejectedError(error.reason, str(error)) from error


def _is_remote(reference: str) -> bool:
    return reference[:8].lower().startswith(("http://", "https://"))


def _is_s3(reference: str) -> bool:
    return reference.startswith("s3://")


def _local_name(reference: str) -> str:
    scheme, separator, rest = reference.partition("://")
    if separator and scheme != "file":
        raise ImageRejectedError(
            "unsupported_reference", f"{shown(reference)}: give a path, file://, s3://, http:// or https://"
        )
    return rest if separator else reference
