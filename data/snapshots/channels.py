"""Channels: append-only logs that say which snapshot is served."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

from lookalike.data.errors import (
    AlreadyExistsError,
    ChannelConflictError,
    ChannelUnknownError,
    CorruptError,
    InputError,
    NotFoundError,
    SnapshotNotFoundError,
    StoreUnavailableError,
)
from lookalike.data.snapshots.documents import ChecksummedDocument, this_actor
from lookalike.data.stores import ObjectStore
from lookalike.data.stores.retry import attempts

DEFAULT_CHANNEL = "current"
FOLDER = "channels/"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ENTRY = re.compile(r"[0-9]{10}\.json")
_log = logging.getLogger(__name__)


class Entry(ChecksummedDocument):
    """Entry `number` of a channel: from `moved_at` on it points at `snapshot`.

    Attributes:
        channel: whose entry it is.
        reason: why it moved, for people.
        commit: says whose write it is.
        restores: the earlier entry that a rollback goes back to.
        held: whether it stays until a person moves the channel again: runs leave it alone.
    """

    channel: str
    number: int = Field(ge=1)
    snapshot: str
    moved_at: AwareDatetime
    moved_by: str
    reason: str
    commit: str
    restores: int | None = None
    held: bool = False


def check_channel_name(name: str) -> None:
    """Raise `InputError` where a channel cannot have this name."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no channel name: use lower-case letters, digits, '.', '_' and '-'")


class Channel:
    """One channel of a store. Entry n+1 is created only if it does not exist: one winner, no lock."""

    def __init__(self, store: ObjectStore, name: str = DEFAULT_CHANNEL) -> None:
        check_channel_name(name)
        self.store = store
        self.name = name

    def latest(self) -> Entry | None:
        """Return the newest entry, or None while nothing has been published."""
        numbers = self.numbers()
        return self.newest_after(self.read(max(numbers))) if numbers else None

    def numbers(self) -> dict[int, datetime]:
        """Return the number of each entry, oldest first, and when the store says that it was written."""
        names = ((found.key.removeprefix(self._folder), found.modified) for found in self.store.list(self._folder))
        return {int(name.removesuffix(".json")): written for name, written in names if _ENTRY.fullmatch(name)}

    def current(self) -> Entry:
        """Return the newest entry. Raises `SnapshotNotFoundError` while nothing has been published."""
        entry = self.latest()
        if entry is None:
            raise SnapshotNotFoundError(
                f"nothing has been published to channel {self.name!r} of {self.store.uri}; "
                "`lookalike reindex CATALOGUE` publishes a first snapshot"
            )
        return entry

    def newest_after(self, entry: Entry | None) -> Entry | None:
        """Return the newest entry, knowing `entry`: one small read when nothing moved."""
        while True:
            try:
                entry = self.read(1 if entry is None else entry.number + 1)
            except NotFoundError:
                return entry

    def history(self) -> Iterator[Entry]:
        """Yield all entries, oldest first."""
        for number in self.numbers():
            yield self.read(number)

    def before(self, entry: Entry) -> Entry | None:
        """Return the entry that a rollback from `entry` goes back to: the newest before it with another snapshot.

        Past a rollback it goes on from where that went back to. Returns None where there is no such entry.
        """
        snapshot = entry.snapshot
        while entry.snapshot == snapshot:
            number = entry.restores or entry.number - 1
            if number < 1:
                return None
            entry = self.read(number)
        return entry

    def move(
        self,
        snapshot: str,
        *,
        after: Entry | None,
        reason: str,
        actor: str = "",
        commit: str = "",
        restores: int | None = None,
        held: bool = False,
    ) -> Entry:
        """Point the channel at `snapshot`, if `after` is still its newest entry.

        Args:
            commit: says whose write the entry is, so that a move that landed is known when it is tried again.
            restores: the number of the entry that this one goes back to.
            held: whether runs are to leave the channel there.

        Raises:
            ChannelConflictError: somebody else moved it first; nothing was changed.
            ChannelUnknownError: the store stopped answering; the move may or may not have happened.
        """
        entry = Entry(
            channel=self.name,
            number=1 if after is None else after.number + 1,
            snapshot=snapshot,
            moved_at=datetime.now(UTC),
            moved_by=actor or this_actor(),
            reason=reason,
            commit=commit or uuid.uuid4().hex,
            restores=restores,
            held=held,
        )
        for _ in attempts():
            landed = self._try_to_create(entry)
            if landed is not None:
                return landed
        raise ChannelUnknownError(
            f"channel {self.name!r} may or may not point at {snapshot} now: the store stopped answering. "
            "Look with `lookalike snapshots list` before you try again"
        )

    def _try_to_create(self, entry: Entry) -> Entry | None:
        """Return the entry that is surely ours, None where it must be tried again."""
        try:
            self.store.create(self._key(entry.number), entry.to_json())
        except AlreadyExistsError:
            pass  # perhaps our own write, whose answer was lost and which a client library sent again
        except StoreUnavailableError as error:
            _log.warning("channel %s: %s; looking whether the write landed", self.name, error)
        else:
            return entry
        try:
            found = self.read(entry.number)
        except (NotFoundError, StoreUnavailableError):
            return None
        if found.commit == entry.commit:
            return found
        raise ChannelConflictError(
            f"channel {self.name!r} was moved to {found.snapshot} by {found.moved_by} at "
            f"{found.moved_at:%Y-%m-%d %H:%M:%SZ}, before this move to {entry.snapshot}"
        )

    def read(self, number: int) -> Entry:
        """Return one entry. Raises `NotFoundError`, `CorruptError`, `UnsupportedFormatError`."""
        key = self._key(number)
        entry = Entry.from_json(self.store.read(key), key)
        if (entry.channel, entry.number) != (self.name, number):
            raise CorruptError(f"{key} is damaged: it is entry {entry.number} of channel {entry.channel!r}")
        return entry

    @property
    def _folder(self) -> str:
        return f"{FOLDER}{self.name}/"

    def _key(self, number: int) -> str:
        return f"{self._folder}{number:010d}.json"


def list_channels(store: ObjectStore) -> list[str]:
    """Return the names of all channels that were ever moved."""
    names = (found.key.removeprefix(FOLDER).partition("/")[0] for found in store.list(FOLDER))
    return [name for name in dict.fromkeys(names) if _NAME.fullmatch(name)]
