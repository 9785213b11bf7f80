"""A copy of a store is a store: whole at each moment, continued where it stopped, and never ahead of its blobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike.data.errors import LookalikeError, StoreUnavailableError
from lookalike.data.snapshots import publishing
from lookalike.data.snapshots.backup import Copied, copy_store
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.store import read_manifest, verify
from lookalike.data.stores import ObjectInfo, ObjectStore, open_store
from lookalike.data.stores.memory import MemoryStore
from tests.support.snapshots import draft


def publish(store: ObjectStore, *seeds: int) -> str:
    channel = Channel(store)
    return publishing.publish(channel, draft(store, list(seeds)), after=channel.latest(), reason="a test").snapshot


def served(store: ObjectStore) -> str:
    """Return what the channel points at, and see that every byte of it is there."""
    snapshot = Channel(store).current().snapshot
    assert verify(store, read_manifest(store, snapshot)) == []
    return snapshot


def test_it_goes_into_a_folder_and_back(tmp_path: Path) -> None:
    source, folder, restored = MemoryStore(), open_store(str(tmp_path / "backup")), MemoryStore()
    publish(source, 1)
    last = publish(source, 1, 2)
    copy_store(source, folder)
    assert served(folder) == last
    copy_store(folder, restored)
    assert served(restored) == last
    assert [entry.snapshot for entry in Channel(restored).history()] == [
        entry.snapshot for entry in Channel(source).history()
    ]


def test_the_second_copy_writes_what_is_new(tmp_path: Path) -> None:
    source, target = MemoryStore(), open_store(str(tmp_path))
    publish(source, 1)
    first = copy_store(source, target)
    assert copy_store(source, target) == Copied(written=0, present=first.written)
    last = publish(source, 1, 2)
    second = copy_store(source, target)
    assert 0 < second.written <= first.written
    assert served(target) == last


class PublishesMeanwhile(MemoryStore):
    """A store to which somebody publishes when its channels have been listed, and again when all else has been."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        yield from list(super().list(prefix))
        if not self.is_publishing:
            self.is_publishing = True
            publish(self, 1, 2, len(prefix))
            self.is_publishing = False

    is_publishing = True


def test_what_is_published_meanwhile_does_not_make_it_less_than_whole() -> None:
    source, target = PublishesMeanwhile(), MemoryStore()
    first = publish(source, 1)
    source.is_publishing = False
    copy_store(source, target)
    source.is_publishing = True
    assert served(target) == first
    copy_store(source, target)
    assert served(target) == served(source) != first


class Stops(MemoryStore):
    """A store that is away after so many uploads."""

    left = 3

    def upload(self, key: str, path: Path) -> None:
        if self.left == 0:
            raise StoreUnavailableError("the store is away")
        self.left -= 1
        super().upload(key, path)


def test_a_copy_that_stops_shows_nothing_and_is_continued() -> None:
    source, target = MemoryStore(), Stops()
    last = publish(source, 1, 2, 3)
    with pytest.raises(StoreUnavailableError):
        copy_store(source, target)
    assert Channel(target).latest() is None
    target.left = 1000
    copied = copy_store(source, target)
    assert copied.present == 3
    assert served(target) == last


def test_what_is_no_store_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"picture")
    with pytest.raises(LookalikeError, match="lookalike-store"):
        copy_store(open_store(str(tmp_path)), MemoryStore())
