"""The archive: past snapshots that an operator asked for, opened beside the one that is served, a few for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime

from lookalike.data.errors import SnapshotNotFoundError
from lookalike.data.snapshots.channels import Channel, Entry
from lookalike.data.snapshots.names import find_snapshot
from lookalike.data.snapshots.store import read_manifest
from lookalike.serving.background import in_thread
from lookalike.serving.errors import ProblemError
from lookalike.serving.live.follower import Follower
from lookalike.serving.live.loaded import LoadedSnapshot

KEPT_SECONDS = 300.0
"""How long a past snapshot answers after it was last asked for here."""

_log = logging.getLogger(__name__)


class Archive:
    """Opens past snapshots of the follower's store. Each takes as much memory as the served one, so few are open."""

    def __init__(self, follower: Follower, *, most: int) -> None:
        self.most = most
        self._follower = follower
        self._opened: list[LoadedSnapshot] = []
        self._turn = asyncio.Lock()

    async def open(self, name: str, as_of: datetime | None = None) -> LoadedSnapshot:
        """Let a snapshot answer those who name it: one by its name, or what the channel pointed at at a time.

        Raises `ProblemError` where it is switched off or as many as may be are in use, `SnapshotNotFoundError`, and
        what is wrong with the snapshot.
        """
        if not self.most:
            raise ProblemError("past_off", "This server opens no past snapshot: set LOOKALIKE_CONSOLE__PAST_SNAPSHOTS.")
        async with self._turn:  # two at once would hold more than may be
            entry = await in_thread(lambda: self._find(name, as_of), name="find snapshot")
            held = next((one for one in self._follower.loaded if one.manifest.id == entry.snapshot), None)
            if held is None:
                held = await self._load(entry)
            if held is not self._follower.current:
                self._follower.hold(held, KEPT_SECONDS)
            return held

    async def _load(self, entry: Entry) -> LoadedSnapshot:
        self._make_room()
        started = time.monotonic()
        loaded = LoadedSnapshot(await self._follower.load(entry), entry)
        self._opened.append(loaded)
        _log.info("opened past snapshot %s in %.2f s", entry.snapshot, time.monotonic() - started)
        return loaded

    def _make_room(self) -> None:
        self._opened = [one for one in self._opened if one in self._follower.loaded]
        while len(self._opened) >= self.most:
            idle = next((one for one in self._opened if not one.queries), None)
            if idle is None:
                raise ProblemError("overloaded", "Past snapshots are in use: ask again in a minute.", retry_after=60)
            self._follower.drop(idle)
            self._opened.remove(idle)

    def _find(self, name: str, as_of: datetime | None) -> Entry:
        channel = self._follower.channel
        if as_of is not None:
            return _entry_at(channel, as_of)
        manifest = read_manifest(channel.store, find_snapshot(channel, name))
        # the channel may never have pointed at it, so there need not be an entry
        return Entry(
            channel=channel.name,
            number=1,
            snapshot=manifest.id,
            moved_at=manifest.created_at,
            moved_by="",
            reason="opened by an operator",
            commit="",
        )


def _entry_at(channel: Channel, when: datetime) -> Entry:
    for number in sorted(channel.numbers(), reverse=True):
        entry = channel.read(number)
        if entry.moved_at <= when:
            return entry
    raise SnapshotNotFoundError(f"channel {channel.name!r} pointed at nothing yet at {when.isoformat()}")
