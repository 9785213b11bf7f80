"""Images where the catalogue says they are: local files and objects in S3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.errors import ImageRejectedError

MAX_BYTES = 64 * 2**20


def read_image(reference: str, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return an image's bytes.

    Args:
        reference: an absolute path, `file://…` or `s3://bucket/key`.
        max_bytes: a larger file is refused before it is read.

    Raises:
        ImageRejectedError: `missing`, `unreadable`, `too_many_bytes` or `unsupported_reference`.
    """
    try:
        size, data = _read_s3(reference, max_bytes) if _is_s3(reference) else _read_file(reference, max_bytes)
    except FileNotFoundError as error:
        raise ImageRejectedError("missing", f"there is no file at {reference}") from error
    except OSError as error:
        raise ImageRejectedError("unreadable", f"{reference} cannot be read: {error}") from error
    if size > max_bytes:
        raise ImageRejectedError("too_many_bytes", f"{reference} has {size:,} bytes, the limit is {max_bytes:,}")
    return data


def image_version(reference: str) -> str:
    """Return what changes when the image does, without reading it: size and time, or the ETag.

    Raises `ImageRejectedError` as `read_image` does.
    """
    try:
        if _is_s3(reference):
            return s3_version(_s3().info(reference, refresh=True))
        return file_version(_local_path(reference))
    except FileNotFoundError as error:
        raise ImageRejectedError("missing", f"there is no file at {reference}") from error
    except OSError as error:
        raise ImageRejectedError("unreadable", f"{reference} cannot be read: {error}") from error


def file_version(path: Path) -> str:
    """Return a local file's version: its size in bytes and its time in nanoseconds."""
    stat = path.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def s3_version(entry: dict[str, Any]) -> str:
    """Return an object's version from its listing: its size and its ETag."""
    return f"{entry['size']}-{str(entry.get('ETag', '')).strip(chr(34))}"


def _read_file(reference: str, max_bytes: int) -> tuple[int, bytes]:
    path = _local_path(reference)
    size = path.stat().st_size
    return size, path.read_bytes() if size <= max_bytes else b""


def _read_s3(reference: str, max_bytes: int) -> tuple[int, bytes]:
    try:
        data: bytes = _s3().cat_file(reference, start=0, end=max_bytes + 1)
    except OSError as error:
        if _is_empty(error):
            return 0, b""
        raise
    return len(data), data


def _is_empty(error: OSError) -> bool:
    """An empty object has no first byte to begin a range at: 416."""
    response: dict[str, Any] = getattr(error.__cause__, "response", {})
    return response.get("Error", {}).get("Code") in {"InvalidRange", "416"}


def _is_s3(reference: str) -> bool:
    return reference.startswith("s3://")


def _local_path(reference: str) -> Path:
    scheme, separator, rest = reference.partition("://")
    if separator and scheme != "file":
        raise ImageRejectedError("unsupported_reference", f"{reference}: give a path, file:// or s3://")
    return Path(rest if separator else reference)


def _s3() -> Any:
    from data.stores.s3 import file_system  # noqa: PLC0415 - a local catalogue need not pay for importing boto

    return file_system()
