"""Garbage collection: remove what nothing needs any more, and nothing else.

It works only in a place that says that it is a store (`lookalike.data.snapshots.documents`) and has a channel, and it
looks only at names that Lookalike itself gives: files of others may lie in the same folder or bucket.

Kept are the snapshots that a channel's last entries point at, those that an entry pointed at within the grace period
(a reader may still be fetching them), pinned ones, young ones, and what a writer has announced
(`lookalike.data.snapshots.leases`); with each its blobs, its catalogue, and its run's rejects and contact sheet. Of
reports each channel's newest are kept.
Encoders and embeddings are never removed. Every young object is kept: a writer may be about to
point at it. A collector removes one chunk after the other, and for each it announces itself and looks again.
"""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from pydantic import ValidationError

from lookalike.data import reports
from lookalike.data.catalogue.normalised import HASHES_FOLDER
from lookalike.data.errors import (
    CollectionRefusedError,
    CorruptError,
    NotFoundError,
    SnapshotNotFoundError,
    UnsupportedFormatError,
)
from lookalike.data.snapshots import channels, doctor, leases
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.documents import check_is_store, this_actor
from lookalike.data.snapshots.leases import LEASE_SECONDS, Condemned, WriteLease
from lookalike.data.snapshots.manifest import EncoderSection, find_needs
from lookalike.data.snapshots.store import FOLDER as SNAPSHOTS
from lookalike.data.snapshots.store import list_pins, read_manifest_document
from lookalike.data.stores import ObjectInfo, ObjectStore

_HEX_32 = "[0-9a-f]{32}"
_RUN = "[0-9]{8}T[0-9]{6}Z-[0-9A-Za-z-]{1,64}"
_COLLECTED = {
    SNAPSHOTS: "[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}/manifest[.]json",
    "objects/sha256/": "([0-9a-f]{2})/\\1[0-9a-f]{62}",
    "catalogues/": "[0-9a-f]{16}/products-[0-9a-f]{8}-[0-9a-f]{8}[.]parquet",
    "rejects/": f"{_RUN}[.]parquet",
    HASHES_FOLDER: f"{_HEX_32}[.]parquet",
    reports.CONTACT_SHEETS: f"{_RUN}[.]png",
    reports.FOLDER: f"[^/]+/{_RUN}[.]json",
    leases.FOLDER: f"{_HEX_32}[.]json",
    leases.ANNOUNCEMENTS: f"{_HEX_32}[.]json",
    doctor.FOLDER: f"{_HEX_32}/[a-z0-9-]+",
}
COLLECTED = {folder: re.compile(f"{folder}{name}") for folder, name in _COLLECTED.items()}
CHUNK = 2000  # keys of one announcement: a writer that needs one of them waits until all are deleted
THREADS = 8  # a look at an object, and its deletion, are mostly waiting; S3 clients have ten connections
CLOCK_SLACK = timedelta(seconds=60)
RESOLUTION = timedelta(seconds=1)  # of the times in an S3 listing, which are rounded down


@dataclass(frozen=True, slots=True)
class Retention:
    """What to keep: the last `entries` of each channel, and all that is younger than `grace`.

    The grace must be longer than the longest reindex and than a server takes to fetch a snapshot.
    """

    entries: int = 10
    grace: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection removed, or would remove: snapshots, all objects, and the bytes of dead writers.

    `left` are the objects that it had no time for: the next one removes them.
    """

    snapshots: list[str]
    objects: list[ObjectInfo]
    leftovers: int
    left: list[ObjectInfo] = field(default_factory=list)

    @property
    def freed(self) -> int:
        """Bytes."""
        return self.leftovers + sum(found.size for found in self.objects)


class _Fate(Enum):
    """What became of one condemned object."""

    DELETED = auto()
    KEPT = auto()
    LEFT = auto()  # there was no time for it


def collect(
    store: ObjectStore,
    retention: Retention | None = None,
    *,
    dry_run: bool = False,
    time_limit: timedelta | None = None,
    on_step: Callable[[str], None] = lambda _step: None,
) -> Collection:
    """Remove what nothing needs any more; with `dry_run` only say what would go.

    Nothing is deleted after `time_limit`. `on_step` is called, for each announcement, with `condemned`, `spared`, each
    key before it is deleted, by several threads, and `deleted`.

    Raises `NotAStoreError`, and `CollectionRefusedError` if it cannot be said for sure what is needed.
    """
    until = time.monotonic() + time_limit.total_seconds() if time_limit is not None else math.inf
    check_is_store(store)
    collector = _Collector(store, retention or Retention())
    condemned, left = collector.condemned(), list[ObjectInfo]()
    if not dry_run:
        condemned, left = collector.delete(condemned, until, on_step)
    leftovers = store.sweep(collector.oldest, is_ours=is_collected, dry_run=dry_run)
    return Collection(_snapshots_of(condemned), condemned, leftovers, left)


def is_collected(key: str) -> bool:
    """Tell whether an object has a name that Lookalike gives, and that a collection may remove."""
    return any(name.fullmatch(key) for name in COLLECTED.values())


def _snapshots_of(objects: Iterable[ObjectInfo]) -> list[str]:
    return [found.key.split("/")[1] for found in objects if _is_manifest(found)]


def _is_manifest(found: ObjectInfo) -> bool:
    return found.key.startswith(SNAPSHOTS) and found.key.endswith("/manifest.json")


class _Collector:
    def __init__(self, store: ObjectStore, retention: Retention) -> None:
        self.oldest = datetime.now(UTC) - retention.grace
        self._store = store
        self._entries = max(1, retention.entries)
        self._needs: dict[str, tuple[str, ...]] = {}  # by snapshot: manifests never change
        self._stays: set[str] = set()  # snapshots that were condemned, and stay
        self._has_deleted = False

    def condemned(self) -> list[ObjectInfo]:
        """Return what is old and not needed; manifests first, so that no snapshot outlives its blobs."""
        found = [
            found
            for folder, name in COLLECTED.items()
            for found in self._store.list(folder)
            if name.fullmatch(found.key) and self._is_old(found)
        ]
        return self._not_needed(found)

    def delete(
        self, condemned: list[ObjectInfo], until: float, on_step: Callable[[str], None]
    ) -> tuple[list[ObjectInfo], list[ObjectInfo]]:
        """Delete what is condemned, chunk by chunk; return what is gone, and what there was no time for."""
        deleted: list[ObjectInfo] = []
        left = condemned
        while left and time.monotonic() < until:
            chunk, rest = left[:CHUNK], left[CHUNK:]
            fates = self._delete_chunk(chunk, until, on_step)
            gone = [found for found in chunk if fates[found.key] is _Fate.DELETED]
            again = [found for found in chunk if fates[found.key] is _Fate.LEFT]
            deleted, left = deleted + gone, again + rest
            self._has_deleted = bool(deleted)
            if len(again) == len(chunk):  # to look at what is needed takes as long as the lease: nothing will go
                break
        return deleted, left

    def _delete_chunk(
        self, condemned: list[ObjectInfo], until: float, on_step: Callable[[str], None]
    ) -> dict[str, _Fate]:
        """Announce what is condemned, look again at what is needed, and delete the rest while the lease lasts."""
        deadline = min(time.monotonic() + LEASE_SECONDS, until)
        key = f"{leases.ANNOUNCEMENTS}{uuid.uuid4().hex}.json"
        fates = {found.key: _Fate.KEPT for found in condemned}
        self._store.create(key, Condemned(keys=tuple(fates), since=datetime.now(UTC), by=this_actor()).to_json())
        try:
            on_step("condemned")
            self._check_clock(key)
            spared = self._not_needed(condemned)
            on_step("spared")
            fates |= self._delete(spared, deadline, on_step)
        finally:
            self._store.delete(key)
        # a snapshot that stays after all keeps its blobs, which may be in a later chunk, also when its lease ends
        self._stays.update(_snapshots_of(found for found in condemned if fates[found.key] is _Fate.KEPT))
        return fates

    def _delete(self, condemned: list[ObjectInfo], deadline: float, on_step: Callable[[str], None]) -> dict[str, _Fate]:
        def delete(found: ObjectInfo) -> _Fate:
            if self._was_written_again(found):
                return _Fate.KEPT
            if time.monotonic() > deadline:  # writers wait no longer than this for us
                return _Fate.LEFT
            on_step(found.key)
            self._store.delete(found.key)
            return _Fate.DELETED

        manifests = [found for found in condemned if _is_manifest(found)]
        others = [found for found in condemned if not _is_manifest(found)]
        fates: dict[str, _Fate] = {}
        with ThreadPoolExecutor(THREADS) as pool:
            for some in (manifests, others):  # each manifest is gone before the first blob is
                fates |= zip((found.key for found in some), pool.map(delete, some), strict=True)
        on_step("deleted")
        return fates

    def _was_written_again(self, found: ObjectInfo) -> bool:
        try:
            return not self._is_old(self._store.stat(found.key))
        except NotFoundError:
            return True

    def _is_old(self, found: ObjectInfo) -> bool:
        return not self._is_young(found.modified)

    def _is_young(self, written: datetime) -> bool:
        return written + RESOLUTION > self.oldest

    def _check_clock(self, key: str) -> None:
        ahead = datetime.now(UTC) - self._store.stat(key).modified
        if ahead > CLOCK_SLACK:  # what is young to the store would look old to us
            raise CollectionRefusedError(
                f"this machine's clock is {ahead.total_seconds():.0f} s ahead of the store's: set it right"
            )

    def _not_needed(self, found: list[ObjectInfo]) -> list[ObjectInfo]:
        keys, folders = self._needed()
        return [one for one in found if one.key not in keys and f"{one.key.rpartition('/')[0]}/" not in folders]

    def _needed(self) -> tuple[set[str], set[str]]:
        try:
            # leases before channels: a writer withdraws its lease only when its entry is there to be read
            needs = [*self._list_announced(), *self._encoders(), *reports.kept_reports(self._store)]
            for snapshot in self._kept_snapshots():
                needs.extend(self._needs_of(snapshot))
        except (CorruptError, UnsupportedFormatError, ValidationError) as error:
            nothing = "nothing more" if self._has_deleted else "nothing"
            raise CollectionRefusedError(
                f"{nothing} was deleted, because it cannot be said for sure what is needed: {error}"
            ) from error
        return set(needs), {need for need in needs if need.endswith("/")}

    def _kept_snapshots(self) -> list[str]:
        kept = [*self._stays, *list_pins(self._store), *self._young_snapshots()]
        names = channels.list_channels(self._store)
        if not names:
            raise CollectionRefusedError(
                f"{self._store.uri} has no channel, so that every snapshot would go: nothing was deleted. Restore its "
                f"folder {channels.FOLDER}, or publish a snapshot first"
            )
        for name in names:
            kept.extend(self._kept_by(Channel(self._store, name)))
        return list(dict.fromkeys(kept))

    def _young_snapshots(self) -> list[str]:
        young = [found.key.split("/") for found in self._store.list(SNAPSHOTS) if not self._is_old(found)]
        return [parts[1] for parts in young if parts[2:] == ["manifest.json"]]

    def _kept_by(self, channel: Channel) -> list[str]:
        numbers = channel.numbers()
        last = max(numbers, default=0)
        return [
            channel.read(number).snapshot
            for number in numbers
            # what the next entry superseded within the grace period may still be read
            if number > last - self._entries or (number + 1 in numbers and self._is_young(numbers[number + 1]))
        ]

    def _list_announced(self) -> list[str]:
        found = [found.key for found in self._store.list(leases.FOLDER) if not self._is_old(found)]
        return [need for key in found for need in self._lease_needs(key)]

    def _lease_needs(self, key: str) -> tuple[str, ...]:
        try:
            return WriteLease.from_json(self._store.read(key), key).needs
        except NotFoundError:  # withdrawn while we looked
            return ()

    def _encoders(self) -> list[str]:
        sections = [
            EncoderSection.model_validate_json(self._store.read(found.key)) for found in self._store.list("encoders/")
        ]
        return [blob.key for section in sections for blob in section.files]

    def _needs_of(self, snapshot: str) -> tuple[str, ...]:
        if snapshot not in self._needs:
            try:
                document = read_manifest_document(self._store, snapshot)
                run, needs = str(document["run"]), find_needs(document)
            except SnapshotNotFoundError:  # an entry of the kept history may point at what is gone long since
                return ()
            except (KeyError, TypeError) as error:
                raise CorruptError(f"the manifest of snapshot {snapshot} is damaged: {error!r}") from error
            self._needs[snapshot] = (*needs, f"rejects/{run}.parquet", reports.contact_sheet_key(run))
        return self._needs[snapshot]
