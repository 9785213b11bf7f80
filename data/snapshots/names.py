"""Names of snapshots as people type them: an id, the first letters of one, `current` or `previous`."""

from __future__ import annotations

from lookalike.data.errors import InputError, SnapshotNotFoundError
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.store import check_snapshot_id, list_snapshots

CURRENT = "current"
PREVIOUS = "previous"
LEAST_LETTERS = 4
SHOWN = 5


def find_snapshot(channel: Channel, name: str = CURRENT) -> str:
    """Return the id of a snapshot: of the one that the channel points at, the one before it, or by its first letters.

    Raises `SnapshotNotFoundError` where there is none, `InputError` where there are several.
    """
    if name == CURRENT:
        return channel.current().snapshot
    if name == PREVIOUS:
        return _find_previous(channel)
    found = [known for known in list_snapshots(channel.store) if known.startswith(name)]
    if name in found:
        return name
    if not found or len(name) < LEAST_LETTERS:
        check_snapshot_id(name)
        raise SnapshotNotFoundError(f"the store has no snapshot {name}")
    if len(found) > 1:
        others = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise InputError(f"{len(found)} snapshots begin with {name!r}: {', '.join(found[:SHOWN])}{others}")
    return found[0]


def _find_previous(channel: Channel) -> str:
    before = channel.before(channel.current())
    if before is None:
        raise SnapshotNotFoundError(f"channel {channel.name!r} has had one snapshot only: there is none before it")
    return before.snapshot
