"""Prove at full size what `docs/reliability.md` states: `python -m tests.benchmarks.reliability CHECK --on local|s3`.

Each check ends with a line of figures, and with an error where a promise does not hold.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.gc import Retention, collect
from lookalike.data.snapshots.publishing import promote, publish
from lookalike.data.snapshots.store import list_snapshots, read_manifest, verify
from lookalike.data.stores import ObjectStore, open_store
from tests.support.faults import RecordingStore
from tests.support.publisher import STEPS, publishers
from tests.support.seaweedfs import BUCKET, running_seaweedfs, s3_environment
from tests.support.snapshots import draft

WRITERS = 8
ROUNDS = 100
KILLS = 40
SECONDS = 60
SHARD_BYTES = 1_000_000


@contextmanager
def store_on(kind: str) -> Iterator[str]:
    """Yield an empty store: a folder, or a bucket of a real S3 server of our own."""
    if kind == "local":
        with tempfile.TemporaryDirectory(prefix="lookalike-reliability-") as folder:
            yield folder
        return
    with running_seaweedfs() as server, s3_environment(server):
        yield f"s3://{BUCKET}/reliability"


def whole(store: ObjectStore, snapshot: str) -> None:
    """See that every byte of a snapshot is as promised."""
    problems = verify(store, read_manifest(store, snapshot))
    assert not problems, problems


def race(uri: str) -> str:
    """Let 8 processes publish to one channel, 100 rounds each; look for gaps, doubles and losers that were not told."""
    with publishers(uri, WRITERS, "--rounds", str(ROUNDS)) as started, ThreadPoolExecutor(WRITERS) as pool:
        outputs = list(pool.map(lambda process: process.communicate()[0], started))
        assert [process.returncode for process in started] == [0] * WRITERS
    lines = [line.split() for output in outputs for line in output.splitlines()]
    won = {int(line[1]): line[2] for line in lines if line[0] == "won"}
    history = list(Channel(open_store(uri)).history())
    assert len(lines) == WRITERS * ROUNDS
    assert [entry.number for entry in history] == list(range(1, len(history) + 1))
    assert {entry.number: entry.snapshot for entry in history} == won
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda entry: whole(open_store(uri), entry.snapshot), history))
    return f"{len(lines)} tries, {len(won)} entries without gap or double, {len(lines) - len(won)} losers were told"


def kill(uri: str) -> str:
    """Kill a publishing process after each named step, then at random moments; each time, look and go on."""
    store, seen = open_store(uri), set[str]()
    with publishers(uri, 1, name="first") as (first,):
        first.wait()
    for number in range(KILLS):
        before = Channel(store).current().snapshot
        step = STEPS[number] if number < len(STEPS) else None
        arguments = ("--die-after", step) if step else ("--rounds", "50")
        with publishers(uri, 1, *arguments, name=f"kill-{number}-") as (process,):
            if step:
                process.wait()
            else:
                time.sleep(1.5 + random.uniform(0, 0.5))
        now = Channel(store).current().snapshot
        whole(store, now)
        assert not step or (now == before) == (step not in {"moved", "withdrawn"})
        seen.add(now)
    collect(store, Retention(entries=1, grace=timedelta(seconds=-5)))
    (left,) = list_snapshots(store)
    whole(store, left)
    keys = {found.key for found in store.list("objects/")}
    assert keys == {blob.key for blob in read_manifest(store, left).blobs()}
    return f"{KILLS} kills, the channel always at a whole snapshot, {len(seen)} of them; gc left one and only it"


def gc(uri: str) -> str:
    """Collect without a pause beside 3 publishing processes, a promoting and 2 reading threads, for a minute."""
    store, deadline = open_store(uri), time.monotonic() + SECONDS
    retention = Retention(entries=3, grace=timedelta(seconds=5))
    with publishers(uri, 1, name="first") as (first,):
        first.wait()

    def repeat(work: Callable[[], object]) -> int:
        times = 0
        while time.monotonic() < deadline:
            work()
            times += 1
        return times

    def read() -> None:
        whole(store, Channel(store).current().snapshot)

    def promote_an_old_one() -> None:
        channel = Channel(store, "canary")
        promote(channel, Channel(store).current().snapshot, reason="canary")
        whole(store, channel.current().snapshot)
        time.sleep(0.5)

    removed: list[int] = []
    with publishers(uri, 3, "--rounds", "100000", output=subprocess.DEVNULL) as started, ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(repeat, read) for _ in range(2)]
        promoter = pool.submit(repeat, promote_an_old_one)
        collector = pool.submit(repeat, lambda: removed.append(len(collect(store, retention).objects)))
        reads = sum(reader.result() for reader in readers)
        promoted, collections = promoter.result(), collector.result()
        assert all(process.poll() is None for process in started), "a publisher died"
    entries = len(Channel(store).numbers())
    for name in list_snapshots(store):
        whole(store, name)
    return (
        f"{SECONDS} s: {collections} collections removed {sum(removed):,} objects beside {entries} publications, "
        f"{promoted} promotions and {reads} whole reads; nothing that was needed disappeared"
    )


def shards(uri: str) -> str:
    """Publish 16 shards, then the same with one of them changed; count what is sent and what a reader fetches."""
    store = RecordingStore(open_store(uri))
    channel = Channel(store)
    first = publish(channel, draft(store, list(range(16)), size=SHARD_BYTES), after=None, reason="first")
    store.calls.clear()
    with tempfile.TemporaryDirectory() as folder:
        cache = BlobCache(Path(folder))
        for blob in read_manifest(store, first.snapshot).blobs():
            cache.get(store, blob)
        fetched = cache.fetched_bytes
        store.calls.clear()
        second = draft(store, [*range(15), "changed"], run="run-2", size=SHARD_BYTES)
        publish(channel, second, after=first, reason="second")
        sent, created = store.calls["upload"], store.calls["create"]
        assert set(sent) == {second.shards[15].index.key, second.shards[15].products.key}
        for blob in second.blobs():
            cache.get(store, blob)
        assert cache.fetched_bytes - fetched == sum(
            blob.size for blob in (second.shards[15].index, second.shards[15].products)
        )
        return (
            f"of {len(set(second.blobs()))} blobs ({fetched:,} bytes) {len(sent)} were sent and "
            f"{cache.fetched_bytes - fetched:,} bytes fetched; written besides: "
            f"{', '.join(sorted(key.split('/')[0] for key in created))}"
        )


CHECKS: dict[str, Callable[[str], str]] = {"race": race, "kill": kill, "gc": gc, "shards": shards}


def main() -> None:
    """Run one check, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("check", choices=[*CHECKS, "all"])
    parser.add_argument("--on", choices=["local", "s3", "both"], default="both")
    options = parser.parse_args()
    for kind in ["local", "s3"] if options.on == "both" else [options.on]:
        for name in CHECKS if options.check == "all" else [options.check]:
            with store_on(kind) as uri:
                started = time.monotonic()
                figures = CHECKS[name](uri)
            sys.stdout.write(f"{name} on {kind}: {figures} [{time.monotonic() - started:.0f} s]\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
