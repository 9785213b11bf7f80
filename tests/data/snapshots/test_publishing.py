"""Publishing: whatever fails and whenever it stops, the channel points at the old or the new snapshot, complete."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from lookalike.data.errors import (
    ChannelConflictError,
    ChannelUnknownError,
    CorruptError,
    IncompleteSnapshotError,
    InputError,
    SnapshotNotFoundError,
    StoreUnavailableError,
)
from lookalike.data.snapshots import gc
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel, Entry
from lookalike.data.snapshots.gc import Retention
from lookalike.data.snapshots.leases import FOLDER as MAKING
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.publishing import Step, promote, publish, rollback, store_snapshot
from lookalike.data.snapshots.store import list_pins, list_snapshots, pin, read_manifest, read_pin, unpin, verify
from lookalike.data.stores import ObjectStore
from lookalike.data.stores.local import LocalStore
from lookalike.data.stores.memory import MemoryStore
from lookalike.data.stores.retry import Backoff
from tests.support.faults import Crash, CrashingStore, FailingStore, LostResponseStore, RecordingStore, SlowStore
from tests.support.snapshots import draft

EVERYTHING_IS_OLD = Retention(grace=timedelta(seconds=-5))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.data.stores.retry.BACKOFF", Backoff(0.0))


def release(store: ObjectStore, *seeds: object, run: str = "run-1") -> Entry:
    """Make and publish a snapshot, the usual way."""
    channel = Channel(store)
    after = channel.latest()
    return publish(channel, draft(store, list(seeds), run=run), after=after, reason=run)


def published(store: ObjectStore) -> Manifest:
    """Return what the channel points at, and see that every byte of it is there."""
    manifest = read_manifest(store, Channel(store).current().snapshot)
    assert verify(store, manifest) == []
    return manifest


class TestSteps:
    def test_they_come_in_order_and_leave_no_marker(self) -> None:
        store, steps = MemoryStore(), list[Step]()
        publish(Channel(store), draft(store, [1]), after=None, reason="first", on_step=steps.append)
        assert steps == list(Step)
        assert list(store.list(MAKING)) == []
        entry = Channel(store).current()
        assert (entry.number, entry.channel, entry.reason) == (1, "current", "first")

    def test_an_unpublished_snapshot_is_complete_and_moves_nothing(self) -> None:
        store = MemoryStore()
        manifest = store_snapshot(store, draft(store, [1]))
        assert list(list_snapshots(store)) == [manifest.id]
        assert Channel(store).latest() is None

    @pytest.mark.parametrize("landed", [False, True])
    def test_a_crash_at_any_write_leaves_the_old_or_the_new(self, landed: bool) -> None:
        for at in range(1, 100):
            store = MemoryStore()
            old = release(store, 1, 2).snapshot
            crashing = CrashingStore(store, at, landed=landed)
            try:
                release(crashing, 1, 3, run="run-2")
            except Crash:
                pass
            else:
                assert at > 6  # two blobs, marker, manifest, entry, marker
                break
            now = published(store).id
            assert now == old or at >= (5 if landed else 6)
            release(store, 1, 3, run="run-3")  # the next run succeeds, and has nothing to wait for
            gc.collect(store, EVERYTHING_IS_OLD)
            published(store)
            assert list(store.list(MAKING)) == []
        else:
            pytest.fail("it never came through")

    @pytest.mark.parametrize("folder", ["leases/", "snapshots/", "channels/", ""])
    @pytest.mark.parametrize("method", ["create", "stat", "read", "list", "delete"])
    @pytest.mark.parametrize("store_of", [FailingStore, LostResponseStore])
    def test_a_store_that_stumbles_is_asked_again(
        self, folder: str, method: str, store_of: Callable[..., ObjectStore]
    ) -> None:
        store = MemoryStore()
        release(store, 1)
        channel = Channel(store)
        manifest, after = draft(store, [2], run="run-2"), channel.latest()
        entry = publish(
            Channel(store_of(store, method, folder, times=2)), manifest, after=after, reason="through trouble"
        )
        assert published(store).id == entry.snapshot == manifest.id
        assert len(list(channel.history())) == 2

    def test_a_store_that_stays_away_is_told_as_unknown_and_may_be_tried_again(self) -> None:
        for store_of, lands in ((FailingStore, False), (LostResponseStore, True)):
            store = MemoryStore()
            manifest = draft(store, [1])
            away = FailingStore(store_of(store, "create", "channels/", times=99), "read", "channels/", times=99)
            with pytest.raises(ChannelUnknownError, match="may or may not"):
                publish(Channel(away), manifest, after=None, reason="x")
            assert (Channel(store).latest() is not None) == lands
            assert len(list(store.list(MAKING))) == 1  # stays, for nobody knows whether it is needed
            entry = publish(Channel(store), manifest, after=None, reason="again")
            assert [found.commit for found in Channel(store).history()] == [entry.commit]

    def test_a_store_that_never_takes_the_manifest(self) -> None:
        store = MemoryStore()
        with pytest.raises(StoreUnavailableError):
            publish(
                Channel(FailingStore(store, "create", "snapshots/", times=99)),
                draft(store, [1]),
                after=None,
                reason="x",
            )
        assert Channel(store).latest() is None


class TestRaces:
    def test_the_second_writer_is_told_that_it_lost(self) -> None:
        store = MemoryStore()
        channel = Channel(store)
        publish(channel, draft(store, [1], run="winner"), after=None, reason="first")
        with pytest.raises(ChannelConflictError, match=r"was moved to .* before this move"):
            publish(channel, draft(store, [2], run="loser"), after=None, reason="second")
        assert len(list(list_snapshots(store))) == 2
        assert list(store.list(MAKING)) == []

    def test_many_writers_leave_no_gap_and_no_double(self, tmp_path: Path) -> None:
        store = SlowStore(LocalStore(tmp_path), seconds=0.003)
        barrier = threading.Barrier(8)

        def write(writer: int) -> int:
            won = 0
            for round_number in range(4):
                manifest = draft(store, [writer, round_number], run=f"run-{writer}-{round_number}")
                after = Channel(store).latest()
                barrier.wait()
                try:
                    publish(Channel(store), manifest, after=after, reason=f"{writer}")
                except ChannelConflictError:
                    continue
                won += 1
            return won

        with ThreadPoolExecutor(8) as pool:
            won = sum(pool.map(write, range(8)))
        history = list(Channel(store).history())
        assert [entry.number for entry in history] == list(range(1, won + 1))
        assert len({entry.commit for entry in history}) == won >= 4
        for entry in history:
            assert verify(store, read_manifest(store, entry.snapshot)) == []

    def test_a_snapshot_that_lost_a_blob_is_refused(self) -> None:
        store = MemoryStore()
        old = release(store, 1)
        manifest = draft(store, [2], run="run-2")
        store.delete(manifest.shards[0].products.key)
        with pytest.raises(IncompleteSnapshotError, match=r"the products of shard 0 .* is not in the store"):
            publish(Channel(store), manifest, after=old, reason="x")
        assert published(store).id == old.snapshot
        assert list(list_snapshots(store)) == [old.snapshot]
        assert list(store.list(MAKING)) == []


class TestWhatIsSent:
    def test_of_sixteen_shards_only_the_changed_one_is_uploaded(self) -> None:
        store = MemoryStore()
        first = release(store, *range(16))
        recording = RecordingStore(store)
        channel = Channel(recording)
        manifest = draft(recording, [*range(15), "changed"], run="run-2")
        publish(channel, manifest, after=first, reason="nightly")
        assert sorted(recording.calls["upload"]) == sorted(
            [manifest.shards[15].index.key, manifest.shards[15].products.key]
        )
        written = {key.split("/")[0] for key in recording.calls["create"]}
        assert written == {"leases", "snapshots", "channels"}
        assert "download" not in recording.calls

    def test_a_reader_fetches_no_more_than_that(self, tmp_path: Path) -> None:
        store, cache = MemoryStore(), BlobCache(tmp_path)
        for blob in draft(store, list(range(16))).blobs():
            cache.get(store, blob)
        before = cache.fetched_bytes
        manifest = draft(store, [*range(15), "changed"])
        recording = RecordingStore(store)
        for blob in manifest.blobs():
            cache.get(recording, blob)
        changed = manifest.shards[15]
        assert sorted(recording.calls["download"]) == sorted([changed.index.key, changed.products.key])
        assert cache.fetched_bytes - before == changed.index.size + changed.products.size


class TestRollback:
    def test_it_goes_back_one_snapshot_at_a_time(self) -> None:
        store = MemoryStore()
        channel = Channel(store)
        names = [release(store, seed, run=f"run-{seed}").snapshot for seed in ("a", "b", "c")]
        assert rollback(channel, reason="bad").snapshot == names[1]
        again = rollback(channel, reason="worse")
        assert (again.snapshot, again.restores, again.reason) == (names[0], 1, "worse")
        with pytest.raises(SnapshotNotFoundError, match="nothing to go back to"):
            rollback(channel, reason="worst")
        fourth = release(store, "d", run="run-d").snapshot
        assert rollback(channel, reason="bad").snapshot == names[0]
        promote(channel, fourth, reason="good after all")
        assert [entry.snapshot for entry in channel.history()] == [*names, names[1], names[0], fourth, names[0], fourth]
        assert rollback(channel, reason="no").snapshot == names[0]

    def test_a_step_back_is_held_until_a_move_that_is_none(self) -> None:
        store = MemoryStore()
        channel = Channel(store)
        old, new = (release(store, name, run=f"run-{name}").snapshot for name in "ab")
        old, new = sorted((old, new))  # both of one second: then their content decides
        promote(channel, new, reason="the newest")
        assert not channel.current().held
        assert promote(channel, old, reason="back", actor="ann").held
        assert channel.current().moved_by == "ann"
        assert promote(channel, new, reason="forward", hold=True).held
        assert rollback(channel, reason="bad").held
        assert not promote(channel, channel.current().snapshot, reason="repaired").held
        assert not rollback(channel, reason="the next run may publish", hold=False).held

    def test_who_moves_a_channel_may_be_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store = MemoryStore()
        manifest = store_snapshot(store, draft(store, [1]))
        assert "@" in promote(Channel(store), manifest.id, reason="a test").moved_by
        monkeypatch.setenv("LOOKALIKE_ACTOR", "Ann Lee")
        assert promote(Channel(store), manifest.id, reason="a test").moved_by == "Ann Lee"
        assert pin(store, manifest.id).pinned_by == "Ann Lee"

    def test_a_channel_that_never_moved(self) -> None:
        with pytest.raises(SnapshotNotFoundError, match="nothing has been published"):
            rollback(Channel(MemoryStore()), reason="x")

    def test_promoting_what_is_not_there(self) -> None:
        store = MemoryStore()
        for name in ("20260101T000000Z-00000000", "../../etc", "20260101T000000Z-00000000\n"):
            with pytest.raises(SnapshotNotFoundError):
                promote(Channel(store), name, reason="x")
        assert Channel(store).latest() is None

    def test_promoting_may_pin(self) -> None:
        store = MemoryStore()
        manifest = store_snapshot(store, draft(store, [1]))
        promote(Channel(store, "canary"), manifest.id, reason="christmas", pin=True)
        assert list_pins(store) == [manifest.id]
        assert read_pin(store, manifest.id).note == "christmas"
        assert pin(store, manifest.id, "again").note == "christmas"
        unpin(store, manifest.id)
        unpin(store, manifest.id)
        with pytest.raises(SnapshotNotFoundError, match="not pinned"):
            read_pin(store, manifest.id)


class TestEntries:
    def test_strange_files_in_a_channel_are_no_entries(self) -> None:
        store = MemoryStore()
        entry = release(store, 1)
        store.create("channels/current/notes.txt", b"hello")
        store.create("channels/current/9999999999.json.bak", b"hello")
        assert Channel(store).latest() == entry

    @pytest.mark.parametrize("name", ["", "Current", "../x", "a/b", "x\n", "-x", "x" * 64])
    def test_bad_names(self, name: str) -> None:
        with pytest.raises(InputError, match="no channel name"):
            Channel(MemoryStore(), name)

    def test_an_entry_of_another_place_is_refused(self) -> None:
        store = MemoryStore()
        release(store, 1)
        data = store.read("channels/current/0000000001.json")
        store.create("channels/current/0000000002.json", data)
        store.create("channels/canary/0000000001.json", data)
        for channel in (Channel(store), Channel(store, "canary")):
            with pytest.raises(CorruptError, match="it is entry 1 of channel 'current'"):
                channel.latest()
