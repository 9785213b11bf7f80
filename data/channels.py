"""Channels: append-only logs that say which snapshot is served."""

from __future__ import annotations

import getpass
import logging
import random
import re
import socket
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data.errors import (
    AlreadyExistsError,
    ChannelConflictError,
    ChannelUnknownError,
    CorruptError,
    InputError,
    NotFoundError,
    SnapshotNotFoundError,
    StoreUnavailableError,
)
from data.stores import ObjectStore

DEFAULT_CHANNEL = "current"
ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.1

_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")
_log = logging.getLogger(__name__)


class Entry(BaseModel):
    """Entry `number` of a channel: from `moved_at` on it points at `snapshot`. `commit` says whose write it is."""

    model_config = ConfigDict(frozen=True)

    number: int = Field(ge=1)
    snapshot: str
    moved_at: datetime
    moved_by: str
    reason: str
    commit: str


class Channel:
    """One channel of a store. Entry n+1 is created only if it does not exist: one winner, no lock."""

    def __init__(self, store: ObjectStore, name: str = DEFAULT_CHANNEL) -> None:
        if not _NAME.match(name):
            raise InputError(f"{name!r} is no channel name: use lower-case letters, digits, '.', '_' and '-'")
        self.store = store
        self.name = name

    def latest(self) -> Entry | None:
        """Return the newest entry, or None while nothing has been published."""
        newest = None
        for found in self.store.list(self._folder):
            newest = found
        if newest is None:
            return None
        number = int(newest.key.removeprefix(self._folder).removesuffix(".json"))
        return self.newest_after(self._read(number))

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
                entry = self._read(1 if entry is None else entry.number + 1)
            except NotFoundError:
                return entry

    def history(self) -> Iterator[Entry]:
        """Yield all entries, oldest first."""
        for found in self.store.list(self._folder):
            yield self._read(int(found.key.removeprefix(self._folder).removesuffix(".json")))

    def move(self, snapshot: str, *, after: Entry | None, reason: str, actor: str = "") -> Entry:
        """Point the channel at `snapshot`, if `after` is still its newest entry.

        Raises:
            ChannelConflictError: somebody else moved it first; nothing was changed.
            ChannelUnknownError: the store stopped answering; the move may or may not have happened.
        """
        entry = Entry(
            number=1 if after is None else after.number + 1,
            snapshot=snapshot,
            moved_at=datetime.now(UTC),
            moved_by=actor or f"{_user()}@{socket.gethostname()}",
            reason=reason,
            commit=uuid.uuid4().hex,
        )
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            if self._try_to_create(entry):
                return entry
        raise ChannelUnknownError(
            f"channel {self.name!r} may or may not point at {snapshot} now: the store stopped answering. "
            "Look with `lookalike snapshots list` before you try again"
        )

    def _try_to_create(self, entry: Entry) -> bool:
        """Return whether the entry is surely ours, False where it must be tried again."""
        try:
            self.store.create(self._key(entry.number), entry.model_dump_json(indent=2).encode())
        except AlreadyExistsError:
            pass  # perhaps our own write, whose answer was lost and which a client library sent again
        except StoreUnavailableError as error:
            _log.warning("channel %s: %s; looking whether the write landed", self.name, error)
        else:
            return True
        try:
            found = self._read(entry.number)
        except (NotFoundError, StoreUnavailableError):
            return False
        if found.commit == entry.commit:
            return True
        raise ChannelConflictError(
            f"channel {self.name!r} was moved to {found.snapshot} by {found.moved_by} at "
            f"{found.moved_at:%Y-%m-%d %H:%M:%SZ}, before this move to {entry.snapshot}"
        )

    @property
    def _folder(self) -> str:
        return f"channels/{self.name}/"

    def _key(self, number: int) -> str:
        return f"{self._folder}{number:010d}.json"

    def _read(self, number: int) -> Entry:
        key = self._key(number)
        data = self.store.read(key)
        try:
            return Entry.model_validate_json(data)
        except ValidationError as error:
            raise CorruptError(f"{key} is damaged: {error}") from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
