"""Object stores: a folder, an S3 bucket, memory."""

from __future__ import annotations

from pathlib import Path

from lookalike.data.errors import InputError
from lookalike.data.stores.base import ObjectInfo, ObjectStore
from lookalike.data.stores.local import LocalStore

__all__ = ["ObjectInfo", "ObjectStore", "open_store"]


def open_store(uri: str) -> ObjectStore:
    """Return the store at a folder's path, `file://` or `s3://bucket/prefix`. Raises `InputError`."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalStore(Path(uri))
    if scheme == "file":
        return LocalStore(Path(rest))
    if scheme == "s3" and rest.strip("/"):
        from lookalike.data.stores.s3 import S3Store  # noqa: PLC0415 - a local store need not pay for importing boto

        return S3Store(uri)
    raise InputError(f"{uri!r} is no store: give a folder's path or s3://bucket/prefix")
