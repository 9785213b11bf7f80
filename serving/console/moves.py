"""Moves: what an operator does to a store, in the name of a person or a key, if it is switched on."""

from __future__ import annotations

from lookalike.data.snapshots import publishing
from lookalike.data.snapshots.channels import Channel, Entry
from lookalike.data.snapshots.names import find_snapshot
from lookalike.data.snapshots.store import Pin, pin, unpin
from lookalike.data.stores import ObjectStore
from lookalike.serving.errors import ProblemError


class Moves:
    """Moves channels and pins snapshots. Its methods wait for the store: call them in a thread.

    All raise `ProblemError` where moves are off, `SnapshotNotFoundError`, and `StoreError` where the store does not let
    this server write.
    """

    def __init__(self, store: ObjectStore, *, enabled: bool) -> None:
        self.enabled = enabled
        self._store = store

    def promote(
        self, channel: str, snapshot: str, *, actor: str, reason: str, force: bool = False, hold: bool | None = None
    ) -> Entry:
        """Point a channel at a snapshot; see `publishing.promote`."""
        found = self._channel(channel)
        name = find_snapshot(found, snapshot)
        return publishing.promote(found, name, reason=reason, actor=actor, force=force, hold=hold)

    def roll_back(self, channel: str, *, actor: str, reason: str, hold: bool = True) -> Entry:
        """Point a channel at the snapshot before; see `publishing.rollback`."""
        return publishing.rollback(self._channel(channel), reason=reason, actor=actor, hold=hold)

    def pin(self, snapshot: str, *, actor: str, note: str) -> Pin:
        """Keep a snapshot from garbage collection."""
        self._check()
        return pin(self._store, snapshot, note, actor=actor)

    def unpin(self, snapshot: str) -> None:
        """Let a snapshot go when its time comes."""
        self._check()
        unpin(self._store, snapshot)

    def _channel(self, name: str) -> Channel:
        self._check()
        return Channel(self._store, name)

    def _check(self) -> None:
        if not self.enabled:
            raise ProblemError(
                "moves_off", "This server moves no channel: set LOOKALIKE_CONSOLE__MOVES, or use `lookalike snapshots`."
            )
