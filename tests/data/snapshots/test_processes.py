"""Real processes: killed after each step, racing for one channel, collected behind their backs."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.gc import Retention, collect
from lookalike.data.snapshots.leases import ANNOUNCEMENTS
from lookalike.data.snapshots.leases import FOLDER as MAKING
from lookalike.data.snapshots.publishing import Step
from lookalike.data.snapshots.store import list_snapshots, read_manifest, verify
from lookalike.data.stores import ObjectStore, open_store
from tests.support.publisher import STEPS, publishers

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.services]

EVERYTHING_IS_OLD = Retention(entries=2, grace=timedelta(seconds=-5))


@pytest.fixture(params=["local", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "store")
    found: str = request.getfixturevalue("s3_uri")
    return found


def current(store: ObjectStore) -> str:
    """Return what the channel points at, and see that every byte of it is there."""
    entry = Channel(store).current()
    assert verify(store, read_manifest(store, entry.snapshot)) == []
    return entry.snapshot


def run(uri: str, name: str, *arguments: str) -> tuple[int, list[str]]:
    with publishers(uri, 1, *arguments, name=name) as (process,):
        output, _ = process.communicate(timeout=60)
        return process.returncode, output.split()


def test_kill_9_after_each_step_leaves_the_old_or_the_new(uri: str) -> None:
    """One after the other in the same store, each beside what the dead ones left."""
    store = open_store(uri)
    code, (_, _, old) = run(uri, "first")
    assert code == 0
    for step in STEPS:
        code, output = run(uri, f"dies-after-{step}", "--die-after", step)
        assert (code, output) == (-signal.SIGKILL, [])
        now = current(store)
        assert (now != old) == (step in {Step.MOVED, Step.WITHDRAWN})
        old = now
    code, (_, _, new) = run(uri, "next")
    assert (code, current(store)) == (0, new)
    collect(store, EVERYTHING_IS_OLD)
    assert set(list_snapshots(store)) == {old, new}
    assert [*store.list(MAKING), *store.list(ANNOUNCEMENTS)] == []
    needed = {blob.key for name in (old, new) for blob in read_manifest(store, name).blobs()}
    assert {found.key for found in store.list("objects/")} == needed


def test_processes_that_publish_at_once_leave_no_gap_and_no_double(uri: str) -> None:
    with publishers(uri, 3, "--rounds", "5") as started:
        lines = [line for process in started for line in process.communicate(timeout=120)[0].splitlines()]
        assert [process.returncode for process in started] == [0] * 3
    won = {int(line.split()[1]): line.split()[2] for line in lines if line.startswith("won")}
    assert len(lines) == 15
    history = list(Channel(open_store(uri)).history())
    assert {entry.number: entry.snapshot for entry in history} == won
    assert sorted(won) == list(range(1, len(history) + 1))
    for entry in history:
        assert verify(open_store(uri), read_manifest(open_store(uri), entry.snapshot)) == []


def test_collecting_beside_publishers_and_readers_loses_nothing(uri: str) -> None:
    store = open_store(uri)
    run(uri, "first")
    done, read = threading.Event(), 0

    def keep_collecting() -> None:
        while not done.is_set():
            collect(store, Retention(entries=1, grace=timedelta(seconds=3)))
            time.sleep(0.05)

    with ThreadPoolExecutor(1) as pool, publishers(uri, 2, "--rounds", "10") as started:
        collecting = pool.submit(keep_collecting)
        try:
            while any(process.poll() is None for process in started):
                current(store)
                read += 1
        finally:
            done.set()
        collecting.result()
        assert [process.returncode for process in started] == [0, 0]
    assert read > 0
    current(store)
