"""Collection: remove what nothing needs any more, and nothing else.

Kept are the snapshots that a channel's last entries point at, those that an entry pointed at within the grace period
(a reader may still be fetching them), pinned ones, young ones, and what a writer has announced (`data.making`); with
each its blobs, its catalogue, and its run's rejects and contact sheet. Of reports each channel's newest are kept.
Encoders and embeddings are never removed. Young objects are kept whatever they are: somebody may be about to point
at them.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from data import channels, contact_sheets, hashes, making, pins, reports
from data.channels import Channel
from data.errors import (
    CollectionRefusedError,
    CorruptError,
    NotFoundError,
    SnapshotNotFoundError,
    UnsupportedFormatError,
)
from data.making import LEASE_SECONDS, Condemned, Marker
from data.manifest import EncoderSection
from data.sealed import this_actor
from data.snapshots import FOLDER as SNAPSHOTS
from data.snapshots import read_manifest
from data.stores import ObjectInfo, ObjectStore

COLLECTED = (
    "snapshots/",
    "objects/sha256/",
    "catalogues/",
    "rejects/",
    hashes.FOLDER,
    contact_sheets.FOLDER,
    reports.FOLDER,
    making.FOLDER,
    making.COLLECTIONS,
)
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
    """What a collection removed, or would remove: snapshots, all objects, and the bytes of dead writers."""

    snapshots: list[str]
    objects: list[ObjectInfo]
    leftovers: int

    @property
    def freed(self) -> int:
        """Bytes."""
        return self.leftovers + sum(found.size for found in self.objects)


def collect(
    store: ObjectStore,
    retention: Retention | None = None,
    *,
    dry_run: bool = False,
    on_step: Callable[[str], None] = lambda _step: None,
) -> Collection:
    """Remove what nothing needs any more; with `dry_run` only say what would go.

    `on_step` is told `condemned`, `spared`, each key before it is deleted, and `deleted`.

    Raises `CollectionRefusedError` where it cannot be told what is needed.
    """
    collector = _Collector(store, retention or Retention())
    condemned = collector.condemned()
    if not dry_run:
        condemned = collector.delete(condemned, on_step)
    leftovers = store.sweep(collector.oldest, dry_run=dry_run)
    snapshots = [found.key.split("/")[1] for found in condemned if found.key.endswith("/manifest.json")]
    return Collection(snapshots, condemned, leftovers)


class _Collector:
    def __init__(self, store: ObjectStore, retention: Retention) -> None:
        self.oldest = datetime.now(UTC) - retention.grace
        self._store = store
        self._entries = max(1, retention.entries)
        self._needs: dict[str, tuple[str, ...]] = {}  # by snapshot: manifests never change

    def condemned(self) -> list[ObjectInfo]:
        """Return what is old and not needed; manifests first, so that no snapshot outlives its blobs."""
        found = [found for folder in COLLECTED for found in self._store.list(folder) if self._is_old(found)]
        return self._not_needed(found)

    def delete(self, condemned: list[ObjectInfo], on_step: Callable[[str], None]) -> list[ObjectInfo]:
        """Announce what is condemned, look again at what is needed, and delete the rest while the lease lasts."""
        if not condemned:
            return []
        deadline = time.monotonic() + LEASE_SECONDS
        key = f"{making.COLLECTIONS}{uuid.uuid4().hex}.json"
        keys = tuple(found.key for found in condemned)
        self._store.create(key, Condemned(keys=keys, since=datetime.now(UTC), by=this_actor()).to_json())
        try:
            on_step("condemned")
            self._check_clock(key)
            spared = self._not_needed(condemned)
            on_step("spared")
            return self._delete(spared, deadline, on_step)
        finally:
            self._store.delete(key)

    def _delete(self, condemned: list[ObjectInfo], deadline: float, on_step: Callable[[str], None]) -> list[ObjectInfo]:
        deleted = []
        for found in condemned:
            if self._was_written_again(found):
                continue
            if time.monotonic() > deadline:  # writers wait no longer than this for us
                break
            on_step(found.key)
            self._store.delete(found.key)
            deleted.append(found)
        on_step("deleted")
        return deleted

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
            # markers before channels: a writer withdraws its marker only when its entry is there to be read
            needs = [*self._announced(), *self._encoders(), *reports.kept_reports(self._store)]
            for snapshot in self._kept_snapshots():
                needs.extend(self._needs_of(snapshot))
        except (CorruptError, UnsupportedFormatError, ValidationError) as error:
            raise CollectionRefusedError(
                f"nothing was deleted, for it cannot be told what is needed: {error}"
            ) from error
        return set(needs), {need for need in needs if need.endswith("/")}

    def _kept_snapshots(self) -> list[str]:
        kept = [*pins.pinned(self._store), *self._young_snapshots()]
        for name in channels.list_channels(self._store):
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

    def _announced(self) -> list[str]:
        found = [found.key for found in self._store.list(making.FOLDER) if not self._is_old(found)]
        return [need for key in found for need in self._marker_needs(key)]

    def _marker_needs(self, key: str) -> tuple[str, ...]:
        try:
            return Marker.from_json(self._store.read(key), key).needs
        except NotFoundError:  # withdrawn while we looked
            return ()

    def _encoders(self) -> list[str]:
        sections = [
            EncoderSection.model_validate_json(self._store.read(found.key)) for found in self._store.list("encoders/")
        ]
        return [blob.key for section in sections for blob in (section.spec, section.model)]

    def _needs_of(self, snapshot: str) -> tuple[str, ...]:
        if snapshot not in self._needs:
            try:
                manifest = read_manifest(self._store, snapshot)
            except SnapshotNotFoundError:  # an entry of the kept history may point at what is gone long since
                return ()
            of_run = (f"rejects/{manifest.run}.parquet", contact_sheets.contact_sheet_key(manifest.run))
            self._needs[snapshot] = (*manifest.needs(), *of_run)
        return self._needs[snapshot]
