"""What every object store must do, as tests: name your store in a subclass of `StoreTests` and inherit them all.

Needs pytest, which nothing that runs does. Override the fixture `store` to return an empty store.
"""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lookalike.data.errors import AlreadyExistsError, InputError, NotFoundError
from lookalike.data.stores.base import ObjectStore

WRITERS = 8
CLOCK_SLACK = timedelta(seconds=120)  # between this machine and a store that is another one


class StoreTests:
    """The behaviours that publishing, reading and collecting rely on."""

    @pytest.fixture
    def store(self) -> ObjectStore:
        """Return an empty store."""
        raise NotImplementedError

    def test_an_object_reads_back_in_every_way(self, store: ObjectStore, tmp_path: Path) -> None:
        """Whole, as a stream, and as a file."""
        data = os.urandom(100_000)
        store.create("folder/sub/name.json", data)
        assert store.read("folder/sub/name.json") == data
        with store.open("folder/sub/name.json") as file:
            file.seek(50_000)
            assert file.read(10) == data[50_000:50_010]
            file.seek(-4, io.SEEK_END)
            assert file.read() == data[-4:]
        store.download("folder/sub/name.json", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data

    def test_an_empty_object_is_an_object(self, store: ObjectStore) -> None:
        """Some clients treat an empty body specially, and overwrite."""
        store.create("empty", b"")
        assert store.read("empty") == b""
        assert store.stat("empty").size == 0
        with pytest.raises(AlreadyExistsError):
            store.create("empty", b"")

    def test_what_was_written_is_there_at_once(self, store: ObjectStore) -> None:
        """By name and in a listing."""
        for number in range(10):
            key = f"fresh/{number}"
            with pytest.raises(NotFoundError):
                store.read(key)
            store.create(key, b"x")
            assert store.read(key) == b"x"
            assert len(list(store.list("fresh/"))) == number + 1

    def test_create_never_overwrites(self, store: ObjectStore) -> None:
        """The second writer gets an error, and changes nothing."""
        store.create("once", b"first")
        with pytest.raises(AlreadyExistsError, match="once"):
            store.create("once", b"second")
        assert store.read("once") == b"first"

    def test_of_many_creators_one_wins(self, store: ObjectStore) -> None:
        """And the object is whole, and the winner's."""
        for attempt in range(3):
            start = threading.Barrier(WRITERS)

            def write(writer: int, key: str = f"race/{attempt}", start: threading.Barrier = start) -> tuple[int, bool]:
                start.wait()
                try:
                    store.create(key, bytes([writer]) * 10_000)
                except AlreadyExistsError:
                    return writer, False
                return writer, True

            with ThreadPoolExecutor(WRITERS) as pool:
                winners = [writer for writer, won in pool.map(write, range(WRITERS)) if won]
            assert len(winners) == 1
            assert store.read(f"race/{attempt}") == bytes(winners) * 10_000

    def test_uploading_twice_is_harmless(self, store: ObjectStore, tmp_path: Path) -> None:
        """For a name that says its content."""
        file = tmp_path / "file"
        file.write_bytes(os.urandom(300_000))
        store.upload("objects/one", file)
        store.upload("objects/one", file)
        assert store.read("objects/one") == file.read_bytes()
        assert [found.key for found in store.list("")] == ["objects/one"]

    def test_readers_never_see_half_an_upload(self, store: ObjectStore, tmp_path: Path) -> None:
        """It is absent, then it is whole."""
        file = tmp_path / "file"
        file.write_bytes(os.urandom(3_000_000))
        writer = threading.Thread(target=store.upload, args=("large", file))
        writer.start()
        sizes = set()
        while writer.is_alive():
            try:
                sizes.add(len(store.read("large")))
            except NotFoundError:
                continue
        writer.join()
        sizes.add(len(store.read("large")))
        assert sizes == {3_000_000}

    def test_a_missing_object_is_told_by_name(self, store: ObjectStore, tmp_path: Path) -> None:
        """By every method that reads."""
        store.create("folder/there", b"x")
        for missing in ("nothing", "folder", "folder/there/below", "bucket/nothing"):
            with pytest.raises(NotFoundError, match=missing):
                store.read(missing)
            with pytest.raises(NotFoundError, match=missing):
                store.stat(missing)
            with pytest.raises(NotFoundError, match=missing):
                store.open(missing).read()
            with pytest.raises(NotFoundError, match=missing):
                store.download(missing, tmp_path / "copy")

    def test_stat_tells_size_and_time(self, store: ObjectStore) -> None:
        """In UTC, or at least with a zone, and the same as a listing does."""
        store.create("a/b", b"12345")
        found = store.stat("a/b")
        assert (found.key, found.size) == ("a/b", 5)
        assert abs(found.modified - datetime.now(UTC)) < CLOCK_SLACK
        (listed,) = store.list("a/")
        assert (listed.key, listed.size) == ("a/b", 5)
        assert abs(listed.modified - found.modified) < timedelta(seconds=2)

    def test_a_listing_is_sorted_and_of_one_folder(self, store: ObjectStore) -> None:
        """`ab/` is not in the folder `a/`, and names sort as they are written."""
        keys = ["a/1", "a/10", "a/2", "a/b/c", "a-b/1", "ab/1", "b"]
        for key in reversed(keys):
            store.create(key, b"")
        assert [found.key for found in store.list("a/")] == ["a/1", "a/10", "a/2", "a/b/c"]
        assert [found.key for found in store.list("")] == sorted(keys)
        assert list(store.list("nothing/")) == []
        with pytest.raises(InputError):
            list(store.list("a"))

    def test_a_deleted_object_is_gone(self, store: ObjectStore) -> None:
        """Deleting it again is no error, and its name is free."""
        store.create("a/gone", b"1")
        store.delete("a/gone")
        store.delete("a/gone")
        store.delete("never/there")
        assert list(store.list("")) == []
        with pytest.raises(NotFoundError):
            store.read("a/gone")
        store.create("a/gone", b"2")
        assert store.read("a/gone") == b"2"

    @pytest.mark.parametrize(
        "key", ["", "/etc/passwd", "../up", "a/../../up", "a/./b", "a//b", "a/", ".tmp/x", "a\\..\\b", "a\0b"]
    )
    def test_no_name_climbs_out(self, store: ObjectStore, key: str, tmp_path: Path) -> None:
        """Or means one object in a folder and another in a bucket."""
        file = tmp_path / "file"
        file.write_bytes(b"")
        for method in (store.read, store.open, store.stat, store.delete):
            with pytest.raises(InputError, match="not a name inside the store"):
                method(key)
        with pytest.raises(InputError):
            store.create(key, b"")
        with pytest.raises(InputError):
            store.upload(key, file)
        with pytest.raises(InputError):
            store.download(key, tmp_path / "copy")

    def test_an_abandoned_upload_is_invisible_until_it_is_swept(self, store: ObjectStore) -> None:
        """And sweeping leaves whole objects alone, and young uploads too: their writer may be alive."""
        store.create("a/b", b"1")
        store.abandon("a/half", b"12345")
        assert [found.key for found in store.list("")] == ["a/b"]
        with pytest.raises(NotFoundError):
            store.read("a/half")
        assert store.sweep(datetime.now(UTC) - timedelta(hours=1)) == 0
        left = store.sweep(datetime.now(UTC) + CLOCK_SLACK, dry_run=True)
        assert store.sweep(datetime.now(UTC) + CLOCK_SLACK) == left
        assert store.sweep(datetime.now(UTC) + CLOCK_SLACK) == 0
        assert store.read("a/b") == b"1"
