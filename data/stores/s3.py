"""A bucket, or a prefix in one, as an object store, through s3fs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, cast

import s3fs
from botocore.exceptions import BotoCoreError, NoCredentialsError, ParamValidationError, PartialCredentialsError

from lookalike.data.errors import (
    AlreadyExistsError,
    InputError,
    NotFoundError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
)
from lookalike.data.stores.base import ObjectInfo, check_key, check_prefix

CONNECT_SECONDS = 5
READ_SECONDS = 20  # without a byte: a store that accepts and never answers must not be waited for for minutes
RETRIES = 4

_NEXT_PAGE = {
    "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
    "list_multipart_uploads": {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
}
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError)
_HOPELESS = {"InvalidBucketName", "PermanentRedirect", "AuthorizationHeaderMalformed", "NotImplemented"}


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
        with translate_errors(key):
            # with more at a time, s3fs asks for the size first: two requests for a document of a few hundred bytes
            data: bytes = self._files.cat_file(self._path(key), max_concurrency=1)
            return data

    def open(self, key: str) -> BinaryIO:
        """Open the object for seeking and reading in ranges."""
        with translate_errors(key):
            file = self._files.open(self._path(key), "rb")
            if file.details["type"] != "file":  # a folder reads as an empty file otherwise
                raise FileNotFoundError(key)
            return cast("BinaryIO", file)

    def download(self, key: str, path: Path) -> None:
        """Stream the object into a new file."""
        with translate_errors(key):
            self._files.get_file(self._path(key), str(path))

    def create(self, key: str, data: bytes) -> None:
        """Put with `If-None-Match: *`: the store itself decides the one winner."""
        bucket, _, name = self._path(key).partition("/")
        with translate_errors(key):
            self._files.call_s3("put_object", Bucket=bucket, Key=name, Body=data, IfNoneMatch="*")

    def upload(self, key: str, path: Path) -> None:
        """Stream a file up, in parts where it is large."""
        with translate_errors(key):
            self._files.put_file(str(path), self._path(key))

    def stat(self, key: str) -> ObjectInfo:
        """Return size and time of one object."""
        bucket, _, name = self._path(key).partition("/")
        with translate_errors(key):
            head = self._files.call_s3("head_object", Bucket=bucket, Key=name)
        return ObjectInfo(key, head["ContentLength"], head["LastModified"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the folder `prefix`, sorted by key."""
        bucket, _, root = self._path_of_folder(check_prefix(prefix)).partition("/")
        with translate_errors(prefix or self.uri):
            objects = list(_pages(self._files, "list_objects_v2", "Contents", Bucket=bucket, Prefix=root))
        files = [found for found in objects if not found["Key"].endswith("/")]  # some servers leave marks of folders
        for found in sorted(files, key=itemgetter("Key")):  # and some sort by folder
            key = f"{bucket}/{found['Key']}".removeprefix(f"{self._root}/")
            yield ObjectInfo(key, found["Size"], found["LastModified"])

    def delete(self, key: str) -> None:
        """Remove an object; one that is already gone is no error."""
        bucket, _, name = self._path(key).partition("/")
        with translate_errors(key):
            self._files.call_s3("delete_object", Bucket=bucket, Key=name)

    def sweep(
        self, before: datetime, *, is_ours: Callable[[str], bool] = lambda _key: True, dry_run: bool = False
    ) -> int:
        """Abort multipart uploads that nobody completed; a bucket keeps, and bills, their parts."""
        bucket, _, root = self._path_of_folder("").partition("/")
        freed = 0
        with translate_errors("unfinished uploads"):
            for upload in list(_pages(self._files, "list_multipart_uploads", "Uploads", Bucket=bucket, Prefix=root)):
                key = f"{bucket}/{upload['Key']}".removeprefix(f"{self._root}/")
                if upload["Initiated"] >= before or not is_ours(key):
                    continue
                where = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                freed += sum(part["Size"] for part in self._files.call_s3("list_parts", **where).get("Parts", []))
                if not dry_run:
                    self._files.call_s3("abort_multipart_upload", **where)
        return freed

    def abandon(self, key: str, data: bytes) -> None:
        """Begin a multipart upload, and never complete it."""
        bucket, _, name = self._path(key).partition("/")
        with translate_errors(key):
            upload = self._files.call_s3("create_multipart_upload", Bucket=bucket, Key=name)["UploadId"]
            self._files.call_s3("upload_part", Bucket=bucket, Key=name, UploadId=upload, PartNumber=1, Body=data)

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _path_of_folder(self, prefix: str) -> str:
        return f"{self._root}/{prefix}"


def file_system(**options: Any) -> s3fs.S3FileSystem:
    """Return the one S3 client of this process: no listing cache, bounded waits. `options` as s3fs takes them.

    Raises `InputError` for an endpoint that is no address.
    """
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        endpoint = os.environ.get(name)
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise InputError(f"{name} is {endpoint!r}: write it with http:// or https:// in front")
    files = s3fs.S3FileSystem(
        use_listings_cache=False,
        config_kwargs={
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"mode": "standard", "max_attempts": 1},  # s3fs has its own, and the two multiply
        },
        **options,
    )
    files.retries = RETRIES
    return files


def list_objects(location: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name below `location` (s3://bucket/folder) and the listing's entry of each object there."""
    bucket, _, folder = location.removeprefix("s3://").partition("/")
    root = f"{folder}/" if folder else ""
    with translate_errors(location):
        for found in _pages(file_system(), "list_objects_v2", "Contents", Bucket=bucket, Prefix=root):
            if not found["Key"].endswith("/"):  # some servers leave marks of folders
                yield found["Key"].removeprefix(root), {"size": found["Size"], "ETag": found["ETag"]}


def _pages(files: s3fs.S3FileSystem, method: str, content: str, **where: str) -> Iterator[dict[str, Any]]:
    marks: dict[str, str] = {}
    while True:
        page = files.call_s3(method, **where, **marks)
        yield from page.get(content, [])
        if not page.get("IsTruncated"):
            return
        marks = {here: page[there] for here, there in _NEXT_PAGE[method].items()}


@contextmanager
def translate_errors(key: str) -> Iterator[None]:
    """Raise what S3 clients raise inside as our errors, which name `key`."""
    try:
        yield
    except (OSError, BotoCoreError) as error:
        raise _ours(error, key) from error


def _ours(error: Exception, key: str) -> StoreError:
    """Return our error for one of s3fs's: it folds many of the store's answers into one, so ask for the code first."""
    code = _code(error)
    if isinstance(error, FileExistsError) or code in {"PreconditionFailed", "412"}:
        return AlreadyExistsError(f"{key} already exists")
    if code == "NoSuchBucket":
        return StoreRefusedError(f"{key}: {error}; create the bucket first")
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"the store has no {key}")
    if isinstance(error, (PermissionError, *_NO_CREDENTIALS)):
        return StoreRefusedError(f"{key}: {error}; check the credentials and the bucket's policy")
    if isinstance(error, ParamValidationError) or code in _HOPELESS:
        return StoreRefusedError(f"{key}: {error}; check the bucket's name, region and endpoint")
    return StoreUnavailableError(f"{key}: {error}")


def _code(error: Exception) -> str:
    response: dict[str, Any] = getattr(error.__cause__, "response", {})
    return str(response.get("Error", {}).get("Code", ""))
