"""The steps of a maintenance: read what is served, and remove what nothing needs any more."""

from __future__ import annotations

from datetime import timedelta

from prefect.logging import get_run_logger

from lookalike.data.errors import CorruptError, SnapshotNotFoundError, UnsupportedFormatError
from lookalike.data.snapshots import gc
from lookalike.data.snapshots import store as snapshots
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.gc import Collection, Retention
from lookalike.data.stores import ObjectStore
from lookalike.flows.reporting.artifacts import size
from lookalike.flows.reporting.maintenance import Verified
from lookalike.flows.runtime.run import step


@step("verify")
def verify_channel(store: ObjectStore, name: str) -> Verified:
    """Read every byte of what one channel points at."""
    snapshot = Channel(store, name).current().snapshot
    try:
        manifest = snapshots.read_manifest(store, snapshot)
    except (CorruptError, SnapshotNotFoundError, UnsupportedFormatError) as error:
        return Verified(channel=name, snapshot=snapshot, files=0, bytes=0, problems=[str(error)])
    problems = snapshots.verify(store, manifest)
    for problem in problems:
        get_run_logger().error("verify: channel %r, snapshot %s: %s", name, snapshot, problem)
    files = set(manifest.blobs())
    read = sum(blob.size for blob in files)
    get_run_logger().info("verify: channel %r, snapshot %s: %s files, %s", name, snapshot, len(files), size(read))
    return Verified(channel=name, snapshot=snapshot, files=len(files), bytes=read, problems=problems)


@step("collect")
def collect(store: ObjectStore, retention: Retention, time_limit: timedelta, dry_run: bool) -> Collection:
    """Remove what nothing needs, or only say what that is."""
    removed = gc.collect(store, retention, dry_run=dry_run, time_limit=time_limit)
    get_run_logger().info(
        "collect: %s snapshots and %s objects %s, %s",
        len(removed.snapshots),
        f"{len(removed.objects):,}",
        "would be removed" if dry_run else "removed",
        size(removed.freed),
    )
    if removed.left:
        get_run_logger().warning(
            "collect: %s objects are left for the next time: it took longer than %s",
            f"{len(removed.left):,}",
            time_limit,
        )
    return removed
