"""A bucket, or a prefix in one, as an object store, through s3fs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import s3fs
from botocore.exceptions import BotoCoreError

from data.errors import AlreadyExistsError, NotFoundError, StoreRefusedError, StoreUnavailableError
from data.stores.base import ObjectInfo, check_key

CONNECT_SECONDS = 5
READ_SECONDS = 60


class S3Store:
    """Objects of one bucket below one prefix.

    Endpoint, credentials and region come from the standard AWS variables (`AWS_ENDPOINT_URL`,
    `AWS_ACCESS_KEY_ID`, …). A multipart upload is invisible until it is completed, so no reader sees half.
    """

    def __init__(self, uri: str) -> None:
        self._root = uri.removeprefix("s3://").strip("/")
        self._files = file_system()

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self._root}"

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        with _translated(key):
            data: bytes = self._files.cat_file(self._path(key))
            return data

    def open(self, key: str) -> BinaryIO:
        """Open the object for seeking and reading in ranges."""
        with _translated(key):
            return cast("BinaryIO", self._files.open(self._path(key), "rb"))

    def download(self, key: str, path: Path) -> None:
        """Stream the object into a new file."""
        with _translated(key):
            self._files.get_file(self._path(key), str(path))

    def create(self, key: str, data: bytes) -> None:
        """Put with `If-None-Match: *`: the store itself decides the one winner."""
        bucket, _, name = self._path(key).partition("/")
        with _translated(key):
            self._files.call_s3("put_object", Bucket=bucket, Key=name, Body=data, IfNoneMatch="*")

    def upload(self, key: str, path: Path) -> None:
        """Stream a file up, in parts where it is large."""
        with _translated(key):
            self._files.put_file(str(path), self._path(key))

    def stat(self, key: str) -> ObjectInfo:
        """Return size and time of one object."""
        with _translated(key):
            return self._info(self._files.info(self._path(key), refresh=True))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the folder `prefix`, sorted by key."""
        folder = f"{self._root}/{prefix}".rstrip("/")
        with _translated(prefix):
            found: dict[str, Any] = self._files.find(folder, detail=True, refresh=True)
        for name in sorted(found):
            yield self._info(found[name])

    def delete(self, key: str) -> None:
        """Remove an object; one that is already gone is no error."""
        bucket, _, name = self._path(key).partition("/")
        with _translated(key):
            self._files.call_s3("delete_object", Bucket=bucket, Key=name)

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _info(self, entry: dict[str, Any]) -> ObjectInfo:
        key = entry["name"].removeprefix(f"{self._root}/")
        return ObjectInfo(key, entry["size"], entry["LastModified"])


def file_system() -> s3fs.S3FileSystem:
    """Return the one S3 client of this process: no listing cache, bounded waits."""
    return s3fs.S3FileSystem(
        use_listings_cache=False,
        config_kwargs={"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS},
    )


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise AlreadyExistsError(f"{key} already exists") from error
    except FileNotFoundError as error:
        if "bucket" in str(error).lower():
            raise StoreRefusedError(f"{key}: {error}; create the bucket first") from error
        raise NotFoundError(f"the store has no {key}") from error
    except PermissionError as error:
        raise StoreRefusedError(f"{key}: {error}; check the credentials and the bucket's policy") from error
    except (OSError, BotoCoreError) as error:
        if _is_precondition_failure(error):
            raise AlreadyExistsError(f"{key} already exists") from error
        raise StoreUnavailableError(f"{key}: {error}") from error


def _is_precondition_failure(error: Exception) -> bool:
    """Tell 412 (the name is taken) from other invalid requests: s3fs maps both to EINVAL."""
    response: dict[str, Any] = getattr(error.__cause__, "response", {})
    return response.get("Error", {}).get("Code") in {"PreconditionFailed", "412"}
