"""Several actors, a store that fails, crashes and collections, compared step by step with a model in memory."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from lookalike.data.errors import (
    ChannelConflictError,
    ChannelUnknownError,
    CollectionRefusedError,
    IncompleteSnapshotError,
    NotAStoreError,
    NotFoundError,
    SnapshotNotFoundError,
    StoreUnavailableError,
)
from lookalike.data.snapshots.channels import Channel, Entry
from lookalike.data.snapshots.gc import Retention, collect
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.publishing import promote, publish, rollback, store_snapshot
from lookalike.data.snapshots.store import list_pins, list_snapshots, pin, read_manifest, unpin, verify
from lookalike.data.stores import ObjectStore
from lookalike.data.stores.memory import MemoryStore
from lookalike.data.stores.retry import Backoff
from tests.support.faults import Crash, CrashingStore, FailingStore, LostResponseStore
from tests.support.snapshots import draft

STEPS = 2000
KEPT = 1
RETENTION = Retention(entries=KEPT, grace=timedelta(minutes=30))
FIRST = datetime(2026, 1, 1, tzinfo=UTC)

actors = st.sampled_from(["ann", "bob", "eve"])
contents = st.lists(st.integers(0, 4), min_size=1, max_size=2, unique=True)


class Machine(RuleBasedStateMachine):
    """The model: which snapshots exist and are young, where the channel pointed, what is pinned or announced."""

    taken = 0

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.made: dict[str, Manifest] = {}  # what exists
        self.young: set[str] = set()
        self.history: list[tuple[str, bool]] = []  # snapshot, whether its entry is young
        self.stack: list[str] = []  # what rollbacks go down
        self.pins: set[str] = set()
        self.announced: list[tuple[str, ...]] = []  # what young markers of dead writers need
        self.views: dict[str, Entry | None] = {}
        self.drafts: dict[str, Manifest] = {}
        self.count = 0

    # what actors do

    @rule(actor=actors)
    def look(self, actor: str) -> None:
        view = self.views[actor] = Channel(self.store).latest()
        assert (view.number if view else 0) == len(self.history)

    @rule(actor=actors, content=contents)
    def prepare(self, actor: str, content: list[int]) -> None:
        """Upload what a snapshot needs; publishing it comes later, or never."""
        self.count += 1
        created = FIRST + timedelta(seconds=self.count)
        self.drafts[actor] = draft(self.store, content, run=f"20260101T000000Z-{self.count}", created_at=created)

    @precondition(lambda self: self.drafts)
    @rule(actor=actors)
    def publish(self, actor: str) -> None:
        if actor not in self.drafts:
            return
        manifest, after = self.drafts.pop(actor), self.views.get(actor)
        whole, lost = self.is_whole(manifest), (after.number if after else 0) != len(self.history)
        try:
            publish(Channel(self.store), manifest, after=after, reason=actor)
        except IncompleteSnapshotError:
            assert not whole
        except ChannelConflictError:
            assert whole
            assert lost
            self.note(manifest)
        else:
            assert whole
            assert not lost
            self.note(manifest)
            self.point_at(manifest.id)

    @precondition(lambda self: self.drafts)
    @rule(actor=actors)
    def keep_unpublished(self, actor: str) -> None:
        if actor in self.drafts and self.is_whole(self.drafts[actor]):
            self.note(store_snapshot(self.store, self.drafts.pop(actor)))

    @rule(content=contents, at=st.integers(1, 5), landed=st.booleans())
    def crash(self, content: list[int], at: int, landed: bool) -> None:
        """Die at one of the writes of publishing: marker, manifest, entry, or withdrawing the marker."""
        self.prepare("dead", content)
        self.attempt(CrashingStore(self.store, at, landed=landed), self.drafts.pop("dead"), Crash)

    @rule(content=contents, lost=st.booleans(), folder=st.sampled_from(["leases/", "snapshots/", "channels/"]))
    def stumble(self, content: list[int], lost: bool, folder: str) -> None:
        """Publish while the store does not answer, or answers and is not heard, for longer than we try."""
        self.prepare("unlucky", content)
        failing = (LostResponseStore if lost else FailingStore)(self.store, "create", folder, times=9)
        errors = (ChannelUnknownError, StoreUnavailableError)
        self.attempt(failing, self.drafts.pop("unlucky"), *errors)

    @precondition(lambda self: self.made)
    @rule(data=st.data(), pin=st.booleans())
    def promote(self, data: st.DataObject, pin: bool) -> None:
        snapshot = data.draw(st.sampled_from(sorted(self.made)))
        promote(Channel(self.store), snapshot, reason="by hand", pin=pin)
        self.point_at(snapshot)
        if pin:
            self.pins.add(snapshot)

    @rule()
    def rollback(self) -> None:
        left = list(self.stack)
        while left and left[-1] == self.stack[-1]:
            left.pop()
        try:
            entry = rollback(Channel(self.store), reason="bad")
        except SnapshotNotFoundError:
            assert not left or left[-1] not in self.made
        else:
            assert entry.snapshot == left[-1]
            self.stack = left
            self.history.append((entry.snapshot, True))

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        snapshot = data.draw(st.sampled_from(sorted(self.made)))
        pin(self.store, snapshot)
        self.pins.add(snapshot)

    @precondition(lambda self: self.pins)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        snapshot = data.draw(st.sampled_from(sorted(self.pins)))
        unpin(self.store, snapshot)
        self.pins.remove(snapshot)

    @rule()
    def time_passes(self) -> None:
        objects = self.store._objects.items()
        self.store._objects = {key: (data, written - timedelta(hours=1)) for key, (data, written) in objects}
        self.young.clear()
        self.announced.clear()
        self.history = [(snapshot, False) for snapshot, _ in self.history]

    @rule(at=st.integers(0, 12), landed=st.booleans())
    def collect(self, at: int, landed: bool) -> None:
        """Collect; now and then the collector dies in the middle of it, and the next one comes."""
        if not self.history:
            self.collecting_is_refused()
            return
        if at:
            with contextlib.suppress(Crash):
                collect(CrashingStore(self.store, at, landed=landed), RETENTION)
        dry = collect(self.store, RETENTION, dry_run=True)
        assert collect(self.store, RETENTION) == dry
        kept = self.kept()
        assert set(dry.snapshots) <= set(self.made) - kept
        self.made = {name: manifest for name, manifest in self.made.items() if name in kept}

    @rule()
    def read(self) -> None:
        """Read every byte of what the channel points at."""
        if self.history:
            manifest = read_manifest(self.store, Channel(self.store).current().snapshot)
            assert manifest.id == self.history[-1][0]
            assert verify(self.store, manifest) == []

    # what always holds

    @invariant()
    def the_store_is_what_the_model_says(self) -> None:
        type(self).taken += 1
        assert set(list_snapshots(self.store)) == set(self.made)
        assert [entry.snapshot for entry in Channel(self.store).history()] == [name for name, _ in self.history]
        assert set(list_pins(self.store)) == self.pins

    @invariant()
    def no_snapshot_lacks_a_file(self) -> None:
        there = {found.key for found in self.store.list("objects/")}
        for manifest in self.made.values():
            assert {blob.key for blob in manifest.blobs()} <= there

    def teardown(self) -> None:
        """When all is old, a collection leaves what is kept, and nothing else."""
        self.time_passes()
        if not self.history:
            self.collecting_is_refused()
            return
        collect(self.store, RETENTION)
        kept = self.kept()
        needed = {blob.key for name in kept for blob in self.made[name].blobs()}
        assert {found.key for found in self.store.list("objects/")} == needed
        assert [*self.store.list("leases/"), *self.store.list("gc/")] == []
        assert set(list_snapshots(self.store)) == kept

    def collecting_is_refused(self) -> None:
        """Without a channel nobody can tell what is needed."""
        before = list(self.store.list(""))
        with pytest.raises((NotAStoreError, CollectionRefusedError)):
            collect(self.store, RETENTION)
        assert list(self.store.list("")) == before

    # the model

    def kept(self) -> set[str]:
        superseded_lately = {
            snapshot for (snapshot, _), (_, young) in zip(self.history, self.history[1:], strict=False) if young
        }
        last = {snapshot for snapshot, _ in self.history[-KEPT:]}
        announced = {name for name in self.made for needs in self.announced if f"snapshots/{name}/" in needs}
        return (last | superseded_lately | self.pins | self.young | announced) & set(self.made)

    def point_at(self, snapshot: str) -> None:
        self.history.append((snapshot, True))
        self.stack.append(snapshot)

    def note(self, manifest: Manifest) -> None:
        self.made[manifest.id] = manifest
        self.young.add(manifest.id)

    def attempt(self, store: ObjectStore, manifest: Manifest, *errors: type[BaseException]) -> None:
        """Publish with trouble; where it did not come through, the store says which of the two it is: old or new."""
        markers = {found.key for found in self.store.list("leases/")}
        after = Channel(self.store).latest()
        with contextlib.suppress(*errors):
            publish(Channel(store), manifest, after=after, reason="with trouble")
        if manifest.id in set(list_snapshots(self.store)):
            self.note(manifest)
        newest = Channel(self.store).latest()
        if newest != after:
            assert newest is not None
            assert newest.snapshot == manifest.id
            self.point_at(manifest.id)
        if {found.key for found in self.store.list("leases/")} > markers:
            self.announced.append(manifest.needs())

    def is_whole(self, manifest: Manifest) -> bool:
        try:
            return all(self.store.stat(blob.key).size == blob.size for blob in manifest.blobs())
        except NotFoundError:
            return False


@pytest.mark.slow
def test_the_store_agrees_with_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.data.stores.retry.BACKOFF", Backoff(0.0))
    monkeypatch.setattr("lookalike.data.snapshots.leases.LEASE_SECONDS", 0.01)
    monkeypatch.setattr("lookalike.data.snapshots.leases.POLL_SECONDS", 0.001)
    monkeypatch.setattr(Machine, "taken", 0)
    while Machine.taken < STEPS:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=50,
                stateful_step_count=50,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
