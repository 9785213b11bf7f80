"""The local cache of blobs on a disk that is full, or that somebody cleaned."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from lookalike.data.errors import CacheError, NotFoundError, StoreUnavailableError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob, BlobCache
from lookalike.data.stores.memory import MemoryStore
from tests.support.faults import WrapperStore

Result = TypeVar("Result")


class FullDiskStore(WrapperStore):
    """Reads well, but there is no space for what it reads, as stores report it."""

    code = errno.ENOSPC

    def call(self, method: str, key: str, run: Callable[[], Result]) -> Result:
        if method != "download":
            return run()
        try:
            raise OSError(self.code, os.strerror(self.code))
        except OSError as error:
            raise StoreUnavailableError(f"{key}: {error}") from error


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def blob(store: MemoryStore) -> Blob:
    return blobs.put_bytes(store, b"bytes")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_cache_is_not_a_store_that_is_away(store: MemoryStore, blob: Blob, tmp_path: Path, code: int) -> None:
    full = FullDiskStore(store)
    full.code = code
    cache = BlobCache(tmp_path / "cache")
    with pytest.raises(CacheError, match=rf"the local cache {tmp_path}/cache cannot be written: {os.strerror(code)}"):
        cache.get(full, blob)
    assert list(cache.folder.iterdir()) == []
    assert cache.get(store, blob).read_bytes() == b"bytes"


def test_a_removed_folder_is_made_again(store: MemoryStore, blob: Blob, tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache")
    cache.get(store, blob)
    shutil.rmtree(cache.folder)
    cache.keep_only([])
    assert cache.get(store, blob).read_bytes() == b"bytes"


def test_a_folder_that_cannot_be_made_is_the_cache_s_fault(store: MemoryStore, blob: Blob, tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache")
    shutil.rmtree(cache.folder)
    cache.folder.write_text("a file stands here")
    with pytest.raises(CacheError, match="the local cache"):
        cache.get(store, blob)


def test_what_the_store_lacks_is_the_store_s_fault(store: MemoryStore, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        BlobCache(tmp_path / "cache").get(store, Blob(sha256="0" * 64, size=1))


def test_what_is_being_fetched_keeps_its_hour(store: MemoryStore, blob: Blob, tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache")
    path = cache.get(store, blob)
    fresh, old = (cache.folder / f"{digit * 64}.{digit * 32}.partial" for digit in "12")
    for partial in (fresh, old):
        partial.write_bytes(b"x")
    os.utime(old, (0, time.time() - blobs.GRACE_SECONDS - 1))
    cache.keep_only([])
    assert path.exists()
    cache.keep_only([], grace_seconds=0)
    assert sorted(cache.folder.iterdir()) == [fresh]


def make_twice(source: Path, target: Path) -> None:
    target.write_bytes(2 * source.read_bytes())


def refuse(source: Path, target: Path) -> None:
    raise AssertionError(f"{source} was made again")


def test_what_is_made_of_a_blob_is_made_once(store: MemoryStore, blob: Blob, tmp_path: Path) -> None:
    made = BlobCache(tmp_path / "cache").get_made(store, blob, "twice1", make_twice)
    assert made.read_bytes() == b"bytesbytes"
    assert BlobCache(tmp_path / "cache").get_made(store, blob, "twice1", refuse) == made
    other = BlobCache(tmp_path / "cache").get_made(store, blob, "twice2", make_twice)
    assert other != made


def test_what_is_made_is_made_again_where_its_file_is_damaged(store: MemoryStore, blob: Blob, tmp_path: Path) -> None:
    made = BlobCache(tmp_path / "cache").get_made(store, blob, "twice1", make_twice)
    made.write_bytes(b"bytesBytes")
    assert BlobCache(tmp_path / "cache").get_made(store, blob, "twice1", make_twice).read_bytes() == b"bytesbytes"


def test_processes_wait_for_the_one_that_makes(store: MemoryStore, blob: Blob, tmp_path: Path) -> None:
    calls: list[Path] = []

    def make(source: Path, target: Path) -> None:
        calls.append(target)
        time.sleep(0.1)
        make_twice(source, target)

    caches = [BlobCache(tmp_path / "cache") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda cache: cache.get_made(store, blob, "twice1", make), caches))
    assert len(found) == len(calls) == 1


def test_what_cannot_be_made_leaves_nothing(store: MemoryStore, blob: Blob, tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache")

    def fill_the_disk(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(CacheError, match="free space there"):
        cache.get_made(store, blob, "twice1", fill_the_disk)
    assert list(cache.folder.iterdir()) == [cache.get(store, blob)]


def test_what_is_made_of_a_blob_stays_as_long_as_the_blob(store: MemoryStore, blob: Blob, tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "cache")
    made, own = cache.get_made(store, blob, "twice1", make_twice), cache.folder / "somebody's own"
    own.touch()
    cache.keep_only([blob], grace_seconds=-1)
    assert made.exists()
    cache.keep_only([], grace_seconds=-1)
    assert list(cache.folder.iterdir()) == [own]
