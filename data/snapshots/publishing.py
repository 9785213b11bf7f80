"""Publishing: bring a snapshot into being and point a channel at it, in steps that are each safe to stop after.

    announced   collectors know what the snapshot needs
    checked     all of it is in the store
    described   its manifest is written: the snapshot exists
    moved       the channel points at it
    withdrawn   the announcement is gone

Until `moved` the channel points at the old snapshot, from then on at the new one, complete. Each step may be
repeated: a run that died goes on where it stopped, because a commit id says which entry is its own.
"""

from __future__ import annotations

from lookalike.data.errors import SnapshotNotFoundError, SnapshotRefusedError
from lookalike.data.snapshots.channels import Channel, Entry
from lookalike.data.snapshots.documents import mark_store
from lookalike.data.snapshots.leases import OnStep, Step, hold_blobs, ignore
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.store import pin as pin_snapshot
from lookalike.data.snapshots.store import read_manifest, write_manifest
from lookalike.data.stores import ObjectStore
from lookalike.data.stores.retry import retry_while_unavailable

__all__ = ["Step", "promote", "publish", "rollback", "store_snapshot"]


def store_snapshot(store: ObjectStore, manifest: Manifest, *, on_step: OnStep = ignore) -> Manifest:
    """Make a snapshot exist, unpublished. Return what the store then holds. Raises `IncompleteSnapshotError`."""
    retry_while_unavailable(lambda: mark_store(store))
    with hold_blobs(store, manifest, on_step):
        written = retry_while_unavailable(lambda: write_manifest(store, manifest))
        on_step(Step.DESCRIBED)
    return written


def publish(
    channel: Channel, manifest: Manifest, *, after: Entry | None, reason: str, on_step: OnStep = ignore
) -> Entry:
    """Make a snapshot exist and point the channel at it, if `after` is still the channel's newest entry.

    May be called again with the same manifest when its outcome is unknown.

    Raises:
        IncompleteSnapshotError: refused, because blobs are missing; nothing was changed.
        ChannelConflictError: the race is lost; the snapshot exists, unpublished.
        ChannelUnknownError: the channel may or may not have moved.
    """
    retry_while_unavailable(lambda: mark_store(channel.store))
    with hold_blobs(channel.store, manifest, on_step):
        written = retry_while_unavailable(lambda: write_manifest(channel.store, manifest))
        on_step(Step.DESCRIBED)
        entry = channel.move(written.id, after=after, reason=reason, commit=f"{manifest.run}:{manifest.content[:16]}")
        on_step(Step.MOVED)
    return entry


def promote(
    channel: Channel,
    snapshot: str,
    *,
    reason: str,
    actor: str = "",
    pin: bool = False,
    force: bool = False,
    hold: bool | None = None,
    on_step: OnStep = ignore,
) -> Entry:
    """Point a channel at a snapshot that exists.

    Args:
        actor: who does it; default: the account and machine of this process.
        hold: whether runs leave it there until a person moves the channel again; default: if it is an older snapshot
            than the one before, which a run would soon replace.

    Raises as `publish` does, `SnapshotNotFoundError`, and `SnapshotRefusedError` for one that its run refused to
    publish, unless by `force`.
    """
    refused = read_manifest(channel.store, snapshot).refused
    if refused and not force:
        raise SnapshotRefusedError(
            f"snapshot {snapshot} was not published: {'; '.join(refused)}. Look at it, then promote it with --force"
        )
    newest = channel.latest()
    if hold is None:
        hold = newest is not None and snapshot < newest.snapshot  # their names begin with their time
    return _point(channel, newest, snapshot, reason, actor=actor, held=hold, pin=pin, on_step=on_step)


def rollback(channel: Channel, *, reason: str, actor: str = "", hold: bool = True, on_step: OnStep = ignore) -> Entry:
    """Point a channel at the snapshot that it pointed at before the current one; again, at the one before that.

    By `hold` runs leave it there until a person moves the channel again: else the next one publishes what it finds.

    Raises as `publish` does, and `SnapshotNotFoundError` where nothing is left to go back to.
    """
    newest = channel.current()
    before = channel.before(newest)
    if before is None:
        raise SnapshotNotFoundError(
            f"channel {channel.name!r} has pointed at nothing but {newest.snapshot}: there is nothing to go back to"
        )
    return _point(
        channel, newest, before.snapshot, reason, actor=actor, restores=before.number, held=hold, on_step=on_step
    )


def _point(
    channel: Channel,
    after: Entry | None,
    snapshot: str,
    reason: str,
    *,
    actor: str,
    held: bool,
    restores: int | None = None,
    pin: bool = False,
    on_step: OnStep,
) -> Entry:
    manifest = read_manifest(channel.store, snapshot)
    if pin:
        pin_snapshot(channel.store, snapshot, reason)
    with hold_blobs(channel.store, manifest, on_step):
        # what was there before we announced may be collected
        retry_while_unavailable(lambda: read_manifest(channel.store, snapshot))
        entry = channel.move(snapshot, after=after, reason=reason, actor=actor, restores=restores, held=held)
        on_step(Step.MOVED)
    return entry
