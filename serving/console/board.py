"""The board: a store's channels, snapshots and runs, a line for each. What never changes is read once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

from cachetools import LRUCache

from lookalike.data.catalogue.rejects import Reject, read_first_rejects
from lookalike.data.errors import CorruptError, NotFoundError, SnapshotNotFoundError, UnsupportedFormatError
from lookalike.data.reports import (
    RunReport,
    contact_sheet_key,
    last_report,
    read_report,
    recent_reports,
    report_key,
)
from lookalike.data.snapshots.channels import Channel, Entry, list_channels
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.store import list_pins, list_snapshots, read_manifest
from lookalike.data.stores import ObjectStore

REMEMBERED = 2000
"""So many manifests, entries and reports are kept in memory, each a few kB."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SnapshotLine:
    """One snapshot.

    Attributes:
        channels: which point at it now.
        manifest: None where it cannot be read; `problem` says why.
        report: what the run that made it did, where that is known.
    """

    snapshot: str
    channels: tuple[str, ...]
    pinned: bool
    manifest: Manifest | None = None
    problem: str = ""
    report: RunReport | None = None


class Board:
    """Reads a store for operators. Its methods wait for the store: call them in a thread."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self._known: LRUCache[tuple[str, str], object] = LRUCache(REMEMBERED)
        self._lock = threading.Lock()

    def channels(self) -> list[Entry]:
        """Return the newest entry of each channel, by name. Raises `StoreError`."""
        found = (Channel(self.store, name).latest() for name in list_channels(self.store))
        return sorted(filter(None, found), key=lambda entry: entry.channel)

    def entries(self, name: str, limit: int) -> list[Entry]:
        """Return the newest entries of a channel, newest first. Raises `SnapshotNotFoundError` where it has none."""
        channel = Channel(self.store, name)
        numbers = sorted(channel.numbers(), reverse=True)[:limit]
        if not numbers:
            raise SnapshotNotFoundError(f"there is no channel {name!r} in this store")
        return [self._remember(("entry", f"{name}/{number}"), partial(channel.read, number)) for number in numbers]

    def snapshots(self, channel: str, limit: int) -> list[SnapshotLine]:
        """Return the newest snapshots, newest first; their runs are looked for among those of a channel."""
        points_at: dict[str, list[str]] = {}
        for entry in self.channels():
            points_at.setdefault(entry.snapshot, []).append(entry.channel)
        pinned = set(list_pins(self.store))
        newest = sorted(list_snapshots(self.store), reverse=True)[:limit]
        return [self._line(channel, name, tuple(points_at.get(name, ())), name in pinned) for name in newest]

    def runs(self, channel: str, limit: int) -> list[RunReport]:
        """Return the newest runs of a channel, newest first, those that were skipped left out."""
        did = (report for report in recent_reports(self.store, channel, 2 * limit) if report.state != "skipped")
        return list(islice(did, limit))

    def last_run(self, channel: str) -> RunReport | None:
        """Return the last run of a channel that looked at its catalogue, None where there was none."""
        try:
            return last_report(self.store, channel)
        except NotFoundError:
            return None

    def rejects(self, channel: str, limit: int, reason: str = "") -> tuple[RunReport, list[Reject]]:
        """Return the last run of a channel, and the first products that it left out. Raises `NotFoundError`."""
        report = last_report(self.store, channel)
        if not report.rejects or not report.rejected:
            return report, []
        return report, read_first_rejects(self.store, report.rejects, limit, reason)

    def contact_sheet(self, run: str) -> bytes:
        """Return the picture of sample queries with their hits, before and after a run. Raises `NotFoundError`."""
        return self.store.read(contact_sheet_key(run))

    def _line(self, channel: str, name: str, channels: tuple[str, ...], pinned: bool) -> SnapshotLine:
        try:
            manifest = self._remember(("manifest", name), lambda: read_manifest(self.store, name))
        except (CorruptError, UnsupportedFormatError, SnapshotNotFoundError) as error:
            return SnapshotLine(name, channels, pinned, problem=str(error))
        return SnapshotLine(name, channels, pinned, manifest, report=self._report(channel, manifest.run))

    def _report(self, channel: str, run: str) -> RunReport | None:
        key = report_key(channel, run)
        try:
            return self._remember(("report", key), lambda: read_report(self.store, key))
        except (NotFoundError, CorruptError):
            return None

    def _remember(self, key: tuple[str, str], read: Callable[[], T]) -> T:
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = read()
            with self._lock:
                self._known[key] = known
        return known  # type: ignore[return-value]  # the first part of a key says of which kind it is
