"""Collecting: what nothing needs goes, what anything needs stays, whoever comes in between."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lookalike.data.errors import (
    CollectionRefusedError,
    CorruptError,
    IncompleteSnapshotError,
    NotAStoreError,
    SnapshotNotFoundError,
    StoreUnavailableError,
    UnsupportedFormatError,
)
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.documents import FORMAT_VERSION, MARKER, checksum
from lookalike.data.snapshots.gc import Collection, Retention, collect
from lookalike.data.snapshots.leases import ANNOUNCEMENTS, Condemned
from lookalike.data.snapshots.manifest import EncoderSection, Manifest
from lookalike.data.snapshots.publishing import promote, publish, rollback, store_snapshot
from lookalike.data.snapshots.store import list_snapshots, manifest_key, pin, read_manifest, read_pin, unpin, verify
from lookalike.data.stores import ObjectStore
from lookalike.data.stores.local import LocalStore
from lookalike.data.stores.memory import MemoryStore
from tests.support.faults import WRITES, Crash, CrashingStore, RecordingStore, Result, WrapperStore
from tests.support.snapshots import draft, some_bytes

OLD = timedelta(seconds=-5)  # everything that exists is older than this grace
LAST = Retention(entries=1, grace=OLD)


def releases(store: ObjectStore, *seeds: object) -> list[str]:
    """Publish one snapshot for each seed; they share one shard."""
    channel, published = Channel(store), []
    for number, seed in enumerate(seeds):
        created = datetime(2026, 1, 1, 0, 0, number, tzinfo=UTC)  # ids of one second sort by content
        manifest = draft(store, ["shared", seed], run=f"20260101T000000Z-r{seed}", created_at=created)
        published.append(publish(channel, manifest, after=channel.latest(), reason="x").snapshot)
    return published


def store_with_a_release() -> MemoryStore:
    store = MemoryStore()
    releases(store, 0)
    return store


def promote_it(store: ObjectStore, name: str) -> None:
    promote(Channel(store, "canary"), name, reason="x")


def complete(store: ObjectStore) -> list[str]:
    """Return the snapshots that exist; each must be whole."""
    names = list(list_snapshots(store))
    for name in names:
        assert verify(store, read_manifest(store, name)) == []
    return names


def test_only_the_last_entries_stay() -> None:
    store = MemoryStore()
    names = releases(store, 1, 2, 3, 4)
    store.create("rejects/20260101T000000Z-r1.parquet", b"12345")
    dry = collect(store, LAST, dry_run=True)
    assert complete(store) == names
    done = collect(store, LAST)
    assert done == dry
    assert done.snapshots == names[:3]
    assert done.freed > 3 * 600
    assert "rejects/20260101T000000Z-r1.parquet" in [found.key for found in done.objects]
    assert complete(store) == names[3:]
    assert collect(store, LAST) == Collection([], [], 0)
    assert rollback_fails(store)


def rollback_fails(store: ObjectStore) -> bool:
    with pytest.raises(SnapshotNotFoundError, match="the store has no snapshot"):
        rollback(Channel(store), reason="too late")
    return True


def test_what_was_superseded_lately_stays_for_its_readers() -> None:
    store = MemoryStore()
    names = releases(store, 1, 2, 3)
    collect(store, Retention(entries=1, grace=timedelta(minutes=1)))
    assert complete(store) == names


def test_other_channels_and_pins_keep_theirs() -> None:
    store = MemoryStore()
    names = releases(store, 1, 2, 3, 4)
    promote(Channel(store, "canary"), names[0], reason="x")
    pin(store, names[1], "audit")
    collect(store, LAST)
    assert complete(store) == [names[0], names[1], names[3]]
    unpin(store, names[1])
    collect(store, LAST)
    assert complete(store) == [names[0], names[3]]


def test_encoders_and_embeddings_stay() -> None:
    store = store_with_a_release()
    before = len(list(store.list("")))
    spec, model, words = (blobs.put_bytes(store, some_bytes(name)) for name in ("a spec", "a model", "a vocabulary"))
    section = EncoderSection(name="e", fingerprint="f", dimension=1, spec=spec, model=model, vocabulary=words)
    store.create("encoders/f.json", section.model_dump_json().encode())
    store.create("embeddings/f/00-ff-0.parquet", b"")
    collect(store, LAST)
    assert len(list(store.list(""))) == before + 5


def test_what_a_dead_collector_left_is_cleared() -> None:
    store = MemoryStore()
    names = releases(store, 1, 2)

    def die(step: str) -> None:
        if step == "condemned":
            raise Crash

    with pytest.raises(Crash):
        collect(store, LAST, on_step=die)
    store.create(f"{ANNOUNCEMENTS}{'0' * 32}.json", b"whatever")
    collect(store, LAST)
    assert complete(store) == names[1:]
    assert list(store.list(ANNOUNCEMENTS)) == []


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 2000])
def test_a_collector_that_dies_anywhere_leaves_whole_snapshots(
    chunk: int, landed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookalike.data.snapshots.gc.CHUNK", chunk)
    for at in range(1, 100):
        store = MemoryStore()
        names = releases(store, 1, 2, 3)
        crashing = CrashingStore(store, at, landed=landed)
        try:
            collect(crashing, LAST)
        except Crash:
            pass
        else:
            break
        assert names[2] in complete(store)
        collect(store, LAST)
        assert complete(store) == names[2:]
        assert (
            len(list(store.list(""))) == 1 + 3 + 1 + 6
        )  # marker, entries, a manifest, four shard files, encoder and spec


class DistantStore(WrapperStore):
    """Looks and deletions take a while, as they do in a bucket."""

    def call(self, method: str, key: str, run: Callable[[], Result]) -> Result:
        time.sleep(0.02 if method in {"stat", "delete"} else 0)
        return run()


def test_all_goes_however_short_a_lease_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.data.snapshots.gc.LEASE_SECONDS", 0.3)
    store = RecordingStore(store_with_a_release())
    before = list(store.list(""))
    for number in range(150):
        blobs.put_bytes(store, some_bytes(number))
    done = collect(DistantStore(store), LAST)
    assert (len(done.objects), done.left, list(store.list(""))) == (150, [], before)
    assert sum(key.startswith(ANNOUNCEMENTS) for key in store.calls["create"]) > 1


def test_what_there_is_no_time_for_is_told_and_goes_the_next_time() -> None:
    store = MemoryStore()
    names = releases(store, 1, 2, 3)
    dry = collect(store, LAST, dry_run=True)
    for seconds in (0, 0.05):
        done = collect(DistantStore(store), LAST, time_limit=timedelta(seconds=seconds))
        assert sorted(found.key for found in done.objects + done.left) == sorted(found.key for found in dry.objects)
        assert complete(store)[-1] == names[2]
    assert done.left
    dry = collect(store, LAST, dry_run=True)
    assert done.left == dry.objects
    assert collect(store, LAST, time_limit=timedelta(minutes=1)) == dry


def test_each_announcement_names_a_chunk_and_each_key_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.data.snapshots.gc.CHUNK", 2)
    store = MemoryStore()
    releases(store, 1, 2, 3)
    announced: list[tuple[str, ...]] = []

    def note(step: str) -> None:
        if step == "condemned":
            (key,) = [found.key for found in store.list(ANNOUNCEMENTS)]
            announced.append(Condemned.from_json(store.read(key), key).keys)

    done = collect(store, LAST, on_step=note)
    assert [key for keys in announced for key in keys] == [found.key for found in done.objects]
    assert len(announced) > 2
    assert max(map(len, announced)) == 2


class DeletingStore(WrapperStore):
    """Notes when a deletion begins and ends; some take longer, and one may fail."""

    def __init__(self, inner: ObjectStore, slow: str, failing: str = "nothing") -> None:
        super().__init__(inner)
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.still_going: list[set[str]] = []  # at the beginning of each, which others
        self._slow, self._failing = slow, failing

    def call(self, method: str, key: str, run: Callable[[], Result]) -> Result:
        if method != "delete":
            return run()
        self.still_going.append({begun.partition("/")[0] for begun in {*self.begun} - {*self.ended}})
        self.begun.append(key)
        time.sleep(0.1 if key.startswith(self._slow) else 0)
        try:
            if key == self._failing:
                raise StoreUnavailableError(key)
            return run()
        finally:
            self.ended.append(key)


def test_no_blob_goes_while_a_manifest_is_going() -> None:
    store = DeletingStore(MemoryStore(), slow="snapshots/")
    names = releases(store, 1, 2, 3)
    collect(store, LAST)
    assert complete(store) == names[2:]
    folders = [key.partition("/")[0] for key in store.begun]
    begun_beside = [going for folder, going in zip(folders, store.still_going, strict=True) if folder == "objects"]
    assert begun_beside
    assert not any("snapshots" in going for going in begun_beside)


def test_an_announcement_is_withdrawn_when_the_last_deletion_has_ended() -> None:
    inner = store_with_a_release()
    keys = [blobs.put_bytes(inner, some_bytes(number)).key for number in range(100)]
    store = DeletingStore(inner, slow="objects/", failing=min(keys))
    with pytest.raises(StoreUnavailableError):
        collect(store, LAST)
    assert store.begun[-1].startswith(ANNOUNCEMENTS)
    assert store.still_going[-1] == set()
    assert 1 < len(store.begun) < len(keys)


def test_a_snapshot_that_is_needed_for_a_moment_keeps_its_files_with_its_manifest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lookalike.data.snapshots.gc.CHUNK", 1)
    store = MemoryStore()
    names = releases(store, 1, 2, 3)

    steps: list[str] = []

    def pin_for_a_moment(step: str) -> None:
        steps.append(step)
        if steps == ["condemned"]:
            store.create(f"pins/{names[0]}.json", b"")
        elif steps == ["condemned", "spared", "deleted"]:
            unpin(store, names[0])

    collect(store, LAST, on_step=pin_for_a_moment)
    assert complete(store) == [names[0], names[2]]
    collect(store, LAST)
    assert complete(store) == names[2:]


@pytest.mark.parametrize("point", [promote_it, pin])
def test_who_points_at_a_snapshot_sees_that_it_went_meanwhile(point: Callable[[ObjectStore, str], object]) -> None:
    store = MemoryStore()
    name = releases(store, 1, 1)[0]

    class Collected(WrapperStore):
        """A collector that looked before we announced ourselves removes the manifest after it."""

        def call(self, method: str, key: str, run: Callable[[], Result]) -> Result:
            result = run()
            if (method, key.partition("/")[0]) == ("create", "leases"):
                self.inner.delete(f"snapshots/{name}/manifest.json")
            return result

    with pytest.raises(SnapshotNotFoundError, match="the store has no snapshot"):
        point(Collected(store), name)
    assert [*store.list("pins/"), *store.list("leases/"), *store.list("channels/canary/")] == []


@pytest.mark.parametrize("folder", ["channels/current/0000000002.json", "snapshots/", "leases/"])
def test_where_something_is_damaged_nothing_is_deleted(folder: str) -> None:
    store = MemoryStore()
    releases(store, 1, 2, 3)
    store.create(f"leases/{'0' * 32}.json", b"{}")
    for found in [found for found in store.list("") if found.key.startswith(folder)]:
        data = store.read(found.key)
        store.delete(found.key)
        store.create(found.key, data[:-5])
    before = [found.key for found in store.list("")]
    with pytest.raises(CollectionRefusedError, match="damaged"):
        collect(store, Retention(entries=3, grace=timedelta(seconds=60) if folder == "leases/" else OLD))
    assert [found.key for found in store.list("")] == before


class TestRaces:
    """One side stops at each of its steps while the other one does all of its work."""

    @pytest.fixture(autouse=True)
    def short_lease(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lookalike.data.snapshots.leases.LEASE_SECONDS", 0.2)

    def reusing(self, store: MemoryStore) -> Manifest:
        """Return a draft that relies on blobs which nothing refers to any more."""
        gone = releases(store, "reused", "now")[0]
        store.delete(f"snapshots/{gone}/manifest.json")
        return draft(store, ["shared", "reused"], run="again")

    @pytest.mark.parametrize("step", ["announced", "checked", "described", "moved", "withdrawn"])
    def test_a_collector_that_comes_after_any_step_of_a_writer(self, step: str) -> None:
        store = MemoryStore()
        manifest = self.reusing(store)
        channel = Channel(store)

        def collect_then(reached: str) -> None:
            if reached == step:
                collect(store, Retention(entries=1, grace=timedelta(seconds=0.5)))  # the marker is young

        age(store)
        entry = publish(channel, manifest, after=channel.latest(), reason="x", on_step=collect_then)
        assert entry.snapshot in complete(store)

    @pytest.mark.parametrize("step", ["condemned", "spared", "a blob", "deleted"])
    def test_a_writer_that_comes_after_any_step_of_a_collector(self, step: str) -> None:
        store = MemoryStore()
        manifest = self.reusing(store)
        channel = Channel(store)
        wanted = manifest.shards[1].index.key if step == "a blob" else step
        outcome: list[object] = []
        age(store)

        def write() -> None:
            try:
                outcome.append(publish(channel, manifest, after=channel.latest(), reason="x"))
            except IncompleteSnapshotError as error:
                outcome.append(error)

        writer = threading.Thread(target=write)

        def write_then(reached: str) -> None:
            if reached == wanted:
                writer.start()
                writer.join(0.1)

        collect(store, Retention(entries=1, grace=timedelta(seconds=0.5)), on_step=write_then)
        writer.join()
        (result,) = outcome
        if step == "condemned":  # the marker came in time
            assert not isinstance(result, Exception)
        else:
            assert isinstance(result, IncompleteSnapshotError)
        assert Channel(store).current().snapshot in complete(store)

    @pytest.mark.parametrize("damaged", [False, True])
    def test_a_writer_waits_no_longer_than_a_lease_for_a_dead_collector(self, damaged: bool) -> None:
        store = MemoryStore()
        manifest = self.reusing(store)
        record = Condemned(keys=manifest.needs(), since=manifest.created_at, by="dead")
        store.create(f"{ANNOUNCEMENTS}dead.json", record.to_json()[: -1 if damaged else None])
        assert store_snapshot(store, manifest).id in complete(store)


def age(store: MemoryStore) -> None:
    """Make all that is stored old."""
    store._objects = {key: (data, written - timedelta(hours=1)) for key, (data, written) in store._objects.items()}


def test_a_clock_that_is_ahead_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    names = releases(store, 1, 2)
    create = store.create

    def create_long_ago(key: str, data: bytes) -> None:
        create(key, data)
        age(store)

    monkeypatch.setattr(store, "create", create_long_ago)
    with pytest.raises(CollectionRefusedError, match="ahead of the store's"):
        collect(store, LAST)
    assert complete(store) == names
    assert "delete" in WRITES


def test_a_pin_holds_even_where_its_note_is_damaged() -> None:
    store = MemoryStore()
    names = releases(store, 1, 2)
    store.create(f"pins/{names[0]}.json", b"damaged")
    collect(store, LAST)
    assert complete(store) == names
    with pytest.raises(CorruptError):
        read_pin(store, names[0])


def test_in_a_place_that_is_no_store_nothing_is_deleted(tmp_path: Path) -> None:
    """A wrong path is enough to get here: these are somebody's own folders, with files of years ago."""
    files = [
        tmp_path / name for name in ("catalogues/spring.pdf", "reports/2024.xlsx", "snapshots/holiday/manifest.json")
    ]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"somebody's")
    for dry_run in (True, False):
        with pytest.raises(NotAStoreError, match=f"{tmp_path} is no store of Lookalike"):
            collect(LocalStore(tmp_path), LAST, dry_run=dry_run)
    assert all(file.read_bytes() == b"somebody's" for file in files)


@pytest.mark.parametrize("change", [{"format": FORMAT_VERSION + 1}, {"run": None}, {"catalogue": None}])
def test_where_a_manifest_is_of_a_newer_format_or_lacks_fields_nothing_is_deleted(change: dict[str, object]) -> None:
    """A newer format may name its blobs in another way: who cannot find them must not take them for unneeded."""
    store = MemoryStore()
    releases(store, 1)
    key = manifest_key(Channel(store).current().snapshot)
    document = json.loads(store.read(key)) | change
    for shard in document["shards"]:
        shard["products"] = shard["products"]["sha256"]
    document = {name: value for name, value in document.items() if value is not None}
    store.delete(key)
    store.create(key, json.dumps({**document, "checksum": checksum(document)}).encode())
    before = [found.key for found in store.list("")]
    with pytest.raises(CollectionRefusedError, match=r"upgrade Lookalike|is damaged"):
        collect(store, LAST)
    assert [found.key for found in store.list("")] == before


def test_without_a_channel_nothing_is_deleted() -> None:
    store = MemoryStore()
    store_snapshot(store, draft(store, [1]))
    with pytest.raises(CollectionRefusedError, match="has no channel"):
        collect(store, LAST)
    (name,) = complete(store)
    promote_it(store, name)
    before = list(store.list(""))
    for found in store.list("channels/"):
        store.delete(found.key)
    with pytest.raises(CollectionRefusedError, match="nothing was deleted"):
        collect(store, LAST)
    assert list(store.list("")) == [found for found in before if not found.key.startswith("channels/")]


@pytest.mark.parametrize(
    "key",
    [
        "catalogues/spring.csv",
        "catalogues/0123456789abcdef/products-2025.parquet",
        "contact-sheets/team.png",
        "hashes/passwords.parquet",
        "leases/of.json",
        "objects/sha256/ab/readme.txt",
        f"objects/sha256/ab/{'c' * 64}",
        "rejects/2024.parquet",
        "reports/2024/annual.json",
        "snapshots/holiday/manifest.json",
        "snapshots/20260101T000000Z-00000000/beach.jpg",
        "gc/stamps.json",
        "doctor/bill.pdf",
    ],
)
def test_what_others_keep_in_a_store_stays(key: str) -> None:
    store = store_with_a_release()
    store.create(key, b"somebody's")
    assert collect(store, LAST).objects == []
    assert store.read(key) == b"somebody's"


def test_a_newer_marker_stops_a_collection() -> None:
    store = store_with_a_release()
    document = json.loads(store.read(MARKER)) | {"format": 99}
    store.delete(MARKER)
    store.create(MARKER, json.dumps(document).encode())
    with pytest.raises(UnsupportedFormatError):
        collect(store, LAST)
