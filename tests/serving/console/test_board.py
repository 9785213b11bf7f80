"""What operators see of a store, without HTTP."""

from __future__ import annotations

import pytest

from lookalike.data.errors import SnapshotNotFoundError
from lookalike.data.reports import write_report
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.publishing import promote, publish, rollback, store_snapshot
from lookalike.data.snapshots.store import pin
from lookalike.data.stores.memory import MemoryStore
from lookalike.serving.console.board import Board
from tests.support.faults import RecordingStore
from tests.support.reports import run_report
from tests.support.snapshots import draft

RUN = "20261123T030000Z-0a1b2c3d"


def test_each_channel_and_its_moves() -> None:
    store = MemoryStore()
    first, second = store_snapshot(store, draft(store, [1])), store_snapshot(store, draft(store, [2]))
    for manifest in (first, second):
        promote(Channel(store), manifest.id, reason="a test", hold=False)
    promote(Channel(store, "canary"), second.id, reason="to try")
    rollback(Channel(store), reason="bad", actor="ann")
    board = Board(store)
    assert [(entry.channel, entry.snapshot, entry.held) for entry in board.channels()] == [
        ("canary", second.id, False),
        ("current", first.id, True),
    ]
    newest, before = board.entries("current", 2)
    assert (newest.number, newest.moved_by, before.number) == (3, "ann", 2)
    with pytest.raises(SnapshotNotFoundError, match="no channel 'summer'"):
        board.entries("summer", 5)


def test_each_snapshot_with_its_run() -> None:
    store = MemoryStore()
    made = draft(store, [1]).model_copy(update={"run": RUN})
    publish(Channel(store), made, after=None, reason="a run")
    write_report(store, run_report(run=RUN, snapshot=made.id))
    refused = store_snapshot(store, draft(store, [2]).model_copy(update={"refused": ("recall@10 is 0.7",)}))
    pin(store, refused.id, "to look at")
    lines = {line.snapshot: line for line in Board(store).snapshots("current", 10)}
    assert (lines[made.id].channels, lines[made.id].pinned) == (("current",), False)
    assert (report := lines[made.id].report) is not None
    assert report.added == 12
    assert (manifest := lines[refused.id].manifest) is not None
    assert (manifest.refused, lines[refused.id].pinned) == (("recall@10 is 0.7",), True)
    assert lines[refused.id].report is None


def test_a_snapshot_that_cannot_be_read_is_a_line_with_its_problem() -> None:
    store = MemoryStore()
    made = store_snapshot(store, draft(store, [1]))
    (key,) = (found.key for found in store.list("snapshots/"))
    store.delete(key)
    store.create(key, b"no JSON")
    assert made.id in key
    (line,) = Board(store).snapshots("current", 10)
    assert line.manifest is None
    assert "damaged" in line.problem


def test_what_never_changes_is_read_once() -> None:
    store = RecordingStore(MemoryStore())
    for value in range(3):
        publish(Channel(store), draft(store, [value]), after=Channel(store).latest(), reason="a run")
    board = Board(store)
    board.snapshots("current", 10)
    board.entries("current", 10)
    store.calls.clear()
    board.snapshots("current", 10)
    board.entries("current", 10)
    read = [key.partition("/")[0] for key in store.calls["read"]]
    assert "snapshots" not in read
    assert read.count("channels") == 2  # where the channel is, and that there is no entry behind it
