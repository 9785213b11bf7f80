"""The maintain flow: read every byte of what is served, and remove what nothing needs any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger
from pydantic import BaseModel, Field

from lookalike.data.durations import duration
from lookalike.data.errors import CorruptError, LookalikeError, SnapshotNotFoundError, UnsupportedFormatError
from lookalike.data.snapshots import gc
from lookalike.data.snapshots import store as snapshots
from lookalike.data.snapshots.channels import Channel, list_channels
from lookalike.data.snapshots.gc import Collection, Retention
from lookalike.data.stores import ObjectStore, open_store
from lookalike.flows.reporting.artifacts import NOTHING, cell, for_show, size
from lookalike.flows.reporting.notifications import Message, link, tell
from lookalike.flows.runtime.parameters import described
from lookalike.flows.runtime.settings import BatchSettings
from lookalike.flows.runtime.stage import step

SHOWN_PROBLEMS = 10


class Verified(BaseModel):
    """What a channel points at, and a sentence for each of its files that is missing or damaged."""

    channel: str
    snapshot: str
    files: int
    bytes: int
    problems: list[str]


class Maintenance(BaseModel):
    """What a maintenance did. With `dry_run`, nothing was removed: the figures say what would be.

    `objects_left` had to be left for the next time: the time limit was reached.
    """

    dry_run: bool
    verified: list[Verified]
    snapshots_removed: int
    objects_removed: int
    objects_left: int
    bytes_freed: int


@flow(name="maintain", persist_result=False, validate_parameters=True)
@described
def maintain(
    store: Annotated[
        str | None,
        Field(description="The store to look after; default: the worker's setting LOOKALIKE_STORE"),
    ] = None,
    channel: Annotated[
        str | None,
        Field(description="The channel to verify; default: all. What is removed depends on all of them"),
    ] = None,
    keep: Annotated[int, Field(ge=1, description="How many of each channel's last entries keep their snapshots")] = 10,
    grace: Annotated[
        str,
        Field(
            pattern=r"^[0-9]{1,9}[smhd]$",
            description="Keep all that is younger, such as 24h or 7d: longer than a reindex and a server's fetch take",
        ),
    ] = "24h",
    time_limit: Annotated[
        str,
        Field(
            pattern=r"^[0-9]{1,9}[smhd]$",
            description="Begin no removal after so long, such as 30m or 2h: what is left goes the next time",
        ),
    ] = "1h",
    dry_run: Annotated[bool, Field(description="Only say what would be removed")] = False,
    verify: Annotated[bool, Field(description="Read every byte of what each channel points at")] = True,
) -> Maintenance:
    """Verify what is served and remove what nothing needs any more.

    Fails, and notifies, where a file is damaged or missing, and where it cannot be told what is needed: then nothing
    is removed.
    """
    settings = BatchSettings()
    opened = open_store(store or settings.absolute_store())
    try:
        verified = [verify_channel(opened, name) for name in _channels(opened, channel)] if verify else []
        removed = collect(opened, Retention(entries=keep, grace=duration(grace)), duration(time_limit), dry_run)
        done = _summary(verified, removed, dry_run)
        show(done)
        _check(done)
    except (LookalikeError, OSError) as error:
        tell(_message(opened.uri, error), settings.notify_blocks())
        raise
    return done


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


@for_show
def show(done: Maintenance) -> None:
    """Show what was done, as a table."""
    rows = [
        {
            "what": f"channel {cell(one.channel)}",
            "snapshot": one.snapshot,
            "files": f"{one.files:,}",
            "size": size(one.bytes),
            "result": cell("; ".join(one.problems[:SHOWN_PROBLEMS])) or "every byte as promised",
        }
        for one in done.verified
    ]
    rows.append(
        {
            "what": "would be removed" if done.dry_run else "removed",
            "snapshot": f"{done.snapshots_removed:,} snapshots",
            "files": f"{done.objects_removed:,}",
            "size": size(done.bytes_freed),
            "result": f"{done.objects_left:,} files are left for the next time" if done.objects_left else NOTHING,
        }
    )
    create_table_artifact(
        rows, key="maintenance", description="What is served, read byte by byte; and what was removed"
    )


def _channels(store: ObjectStore, channel: str | None) -> list[str]:
    return [channel] if channel else list_channels(store)


def _summary(verified: list[Verified], removed: Collection, dry_run: bool) -> Maintenance:
    return Maintenance(
        dry_run=dry_run,
        verified=verified,
        snapshots_removed=len(removed.snapshots),
        objects_removed=len(removed.objects),
        objects_left=len(removed.left),
        bytes_freed=removed.freed,
    )


def _check(done: Maintenance) -> None:
    damaged = [one for one in done.verified if one.problems]
    if damaged:
        problems = [
            f"channel {one.channel!r}, snapshot {one.snapshot}: {text}" for one in damaged for text in one.problems
        ]
        more = f" … and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
        raise CorruptError(f"what is served is damaged: {'; '.join(problems[:SHOWN_PROBLEMS])}{more}")


def _message(store: str, error: Exception) -> Message:
    url = link()
    lines = [
        f"{error}",
        f"The store: {store}. Servers that run go on from their own copies; one that starts anew may not.",
        "Roll back to a snapshot that is whole (the flow `rollback`), or run a full reindex: it makes what is missing.",
        *([f"The run: {url}"] if url else []),
    ]
    return Message("Lookalike: maintenance failed", "\n".join(lines))
