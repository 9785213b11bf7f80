"""The follower: keeps the newest good snapshot of a channel in memory and swaps to it between two queries."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from lookalike.data.errors import CacheError, LookalikeError
from lookalike.data.snapshots.blobs import Blob, BlobCache
from lookalike.data.snapshots.channels import Channel, Entry
from lookalike.data.snapshots.store import read_manifest
from lookalike.data.stores import ObjectStore
from lookalike.data.stores.retry import Backoff
from lookalike.serving.background import in_thread
from lookalike.serving.context import current
from lookalike.serving.errors import ProblemError
from lookalike.serving.live.loaded import LastGood, LoadedSnapshot, Published, prove
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.tasks.search.searcher import Searcher

FIRST_LOOK_SECONDS = 5.0
"""How long a start waits for the store's answer, and then for a newer snapshot, before it makes do with the cache."""
LOOK_SECONDS = 15.0
"""How long one look at the channel may take: a store that accepts and never answers is as good as away."""
LONGEST_PAUSE_SECONDS = 60.0
LISTING_EVERY = 15
"""Each so many polls the whole channel is listed: only that shows a channel that began again."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class StoreState:
    """What is known about the store. `state` is `unknown`, `ok`, `empty` or `unreachable`."""

    state: str = "unknown"
    detail: str = "the store has not been asked yet"
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A snapshot that could not be opened, why, how often it was tried, and when it is tried again (monotonic)."""

    entry: Entry
    reason: str
    attempts: int
    retry_at: float


class Follower:
    """Follows one channel. All its state changes on the event loop; what may block runs in threads."""

    def __init__(
        self,
        store: ObjectStore,
        channel: str,
        folder: Path,
        *,
        threads: int,
        poll_seconds: float,
        metrics: Metrics,
        retain_seconds: float = 0.0,
        pin_seconds: float = 0.0,
    ) -> None:
        self.store = store
        self.channel = Channel(store, channel)
        self.current: LoadedSnapshot | None = None
        self.state = StoreState()
        self.refusal: Refusal | None = None
        self._retired: list[LoadedSnapshot] = []
        self._cache = BlobCache(folder / "blobs")
        self._last_good = LastGood(folder / "last-good.json")
        self._threads = threads
        self._backoff = Backoff(poll_seconds, longest=max(poll_seconds, LONGEST_PAUSE_SECONDS), jitter=0.0)
        self._retain_seconds = retain_seconds
        self._pin_seconds = pin_seconds
        self._metrics = metrics
        self._newest: Entry | None = None
        self._polls = 0
        self._woken = asyncio.Event()
        self._swapped = asyncio.Event()

    @property
    def loaded(self) -> list[LoadedSnapshot]:
        """All snapshots in memory, the one that is served first."""
        return [*([self.current] if self.current else []), *self._retired]

    @contextmanager
    def lease(self, snapshot: str | None = None) -> Iterator[LoadedSnapshot]:
        """Hold on to the current snapshot, or to the one named, for one query.

        Raises `ProblemError` while there is none, or where the one named is not loaded.
        """
        loaded = self._find(snapshot)
        asked = current()
        if asked is not None:
            asked.snapshot = loaded.manifest.id
        loaded.queries += 1
        try:
            yield loaded
        finally:
            loaded.queries -= 1
            self._let_go()

    @contextmanager
    def pin(self, snapshot: str) -> Iterator[None]:
        """Let a snapshot stay for `pin_seconds` after it is replaced, but never beyond the swap after that.

        So pins never hold more memory than one swap does. Raises `ProblemError` where it is not loaded.
        """
        loaded = self._find(snapshot)
        loaded.pins += 1
        try:
            yield
        finally:
            loaded.pins -= 1
            self._let_go()

    async def load(self, entry: Entry) -> Searcher:
        """Fetch and open a snapshot that is not served. Raises what is wrong with it."""
        published = await self._in_thread(lambda: self._fetch(entry), name="fetch past snapshot")
        return await self._in_thread(lambda: self._open(published), name="open past snapshot")

    def hold(self, loaded: LoadedSnapshot, seconds: float) -> None:
        """Let a snapshot that is not served answer those who name it, for so long, or until the next swap."""
        loaded.retained_until = time.monotonic() + seconds
        if loaded not in self._retired:
            self._retired.append(loaded)
        asyncio.get_running_loop().call_later(seconds + 0.01, self._let_go)
        self._let_go()

    def drop(self, loaded: LoadedSnapshot) -> None:
        """Let such a snapshot go, as soon as no query uses it."""
        loaded.retained_until = 0.0
        self._let_go()

    async def wait_for_swap(self) -> LoadedSnapshot:
        """Return the next snapshot that is taken into service."""
        await self._swapped.wait()
        assert self.current is not None  # noqa: S101 - `_adopt` saw to it
        return self.current

    def _find(self, snapshot: str | None) -> LoadedSnapshot:
        if self.current is None:
            raise ProblemError("not_ready", self.why_not_ready(in_short=True), retry_after=5)
        if snapshot is None:
            return self.current
        found = next((one for one in self.loaded if one.manifest.id == snapshot), None)
        if found is None:
            detail = (
                f"This snapshot is not held: begin again without `snapshot`; {self.current.manifest.id} answers now."
            )
            raise ProblemError("snapshot_not_held", detail)
        return found

    async def run(self) -> None:
        """Follow the channel for ever."""
        if self.current is None:
            await self._start()
        while True:
            await self._rest(self._backoff.seconds(self.state.failures + 1))
            await self.poll()

    def wake(self) -> None:
        """Look at the whole channel now, and try again what was refused."""
        self._newest = None
        if self.refusal is not None:
            self.refusal = replace(self.refusal, retry_at=time.monotonic())
        self._woken.set()

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()

    async def poll(self) -> None:
        """Look at the channel once, and swap where there is something new."""
        newest = await self._look()
        if newest is None or self._is_served(newest) or self._is_waiting(newest):
            return
        if self.current is not None and self.current.entry.snapshot == newest.snapshot:
            self._confirm(self.current, newest)
        else:
            await self._swap(newest)

    async def _start(self) -> None:
        noted = await in_thread(self._last_good.load, name="last good snapshot")
        try:
            async with asyncio.timeout(FIRST_LOOK_SECONDS if noted else None):
                newest = await self._look()
        except TimeoutError:
            self._note_unreachable("the store does not answer")
            newest = None
        if newest is not None:
            await self._swap(newest, meanwhile=noted)
        if self.current is None and noted is not None:
            await self._start_from_cache(noted)

    async def _start_from_cache(self, noted: Published) -> None:
        try:
            searcher = await in_thread(lambda: self._open(noted), name="open cached snapshot")
        except Exception as error:  # noqa: BLE001 - of any kind: the store may have a better snapshot
            _log.warning("the cached snapshot %s cannot be used: %s", noted.manifest.id, error)
            return
        why = self.state.detail if self.state.state != "ok" else "a newer one is not there yet, or cannot be served"
        _log.warning("serving snapshot %s from the local cache: %s", noted.manifest.id, why)
        self._adopt(LoadedSnapshot(searcher, noted.entry))
        self._newest = None  # the store has confirmed nothing yet: list the channel until it does

    async def _look(self) -> Entry | None:
        """Return the channel's newest entry, None where it is empty or unreachable; note which."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                newest = await in_thread(self._read_newest, name="poll channel")
        except TimeoutError:
            self._note_unreachable(f"the store does not answer within {LOOK_SECONDS:g} seconds")
            return None
        except Exception as error:  # noqa: BLE001 - following must outlive all that a store's client raises
            self._note_unreachable(str(error))
            return None
        self._newest = newest
        self._metrics.store_reachable.set(1)
        if newest is None:
            detail = f"channel {self.channel.name!r} of {self.store.uri} is empty"
            if self.state.state != "empty":
                _log.warning("%s: what `lookalike reindex` publishes there is served at once", detail)
            self.state = StoreState("empty", detail)
        else:
            self.state = StoreState("ok", f"entry {newest.number} of channel {self.channel.name!r}")
        return newest

    def _read_newest(self) -> Entry | None:
        self._polls += 1
        if self._newest is None or self._polls % LISTING_EVERY == 0:
            return self.channel.latest()
        return self.channel.newest_after(self._newest)

    async def _swap(self, entry: Entry, meanwhile: Published | None = None) -> None:
        started = time.monotonic()
        try:
            published = await self._fetch_meanwhile(entry, meanwhile)
            self._let_go(hold=False)  # one for those who page, and one more while swapping, is memory enough
            searcher = await self._in_thread(lambda: self._open(published), name="open snapshot")
        except Exception as error:  # noqa: BLE001 - damage shows in many ways, and none may stop what serves
            self._refuse(entry, error)
            if isinstance(error, CacheError):
                await self._clean_cache(entry)
            return
        seconds = time.monotonic() - started
        self._adopt(LoadedSnapshot(searcher, entry))
        self._metrics.swaps.inc()
        self._metrics.swap_seconds.observe(seconds)
        _log.info(
            "serving snapshot %s: %s products, opened in %.2f s", entry.snapshot, f"{len(searcher.products):,}", seconds
        )
        await self._tidy(published)

    async def _in_thread(self, function: Callable[[], T], *, name: str) -> T:
        return await in_thread(function, name=name, yielding=self.current is not None)

    async def _fetch_meanwhile(self, entry: Entry, meanwhile: Published | None) -> Published:
        """Fetch a snapshot; where that takes long, serve the one from the cache meanwhile, though it was replaced."""
        fetching = asyncio.ensure_future(self._in_thread(lambda: self._fetch(entry), name="fetch snapshot"))
        try:
            if meanwhile is not None and meanwhile.entry.snapshot != entry.snapshot:
                await asyncio.wait({fetching}, timeout=FIRST_LOOK_SECONDS)
                if not fetching.done() and self._cache.holds(meanwhile.manifest.blobs()):
                    await self._start_from_cache(meanwhile)
            return await fetching
        finally:
            fetching.cancel()

    def _fetch(self, entry: Entry) -> Published:
        """Bring all of a snapshot into the cache, checked: what is damaged ends here, and costs no memory."""
        manifest = read_manifest(self.store, entry.snapshot)
        for blob in manifest.blobs():
            self._cache.get(self.store, blob)
        return Published(entry, manifest)

    def _open(self, published: Published) -> Searcher:
        previous = self.current.searcher if self.current else None
        searcher = Searcher.open(self.store, published.manifest, self._cache, threads=self._threads, previous=previous)
        prove(searcher)
        return searcher

    def _adopt(self, loaded: LoadedSnapshot) -> None:
        """Swap: the one assignment that makes all later queries see the new snapshot."""
        before, self.current = self.current, loaded
        self._swapped.set()
        self._swapped = asyncio.Event()
        self.refusal = None
        if before is not None:
            for seconds in (self._retain_seconds, self._pin_seconds):
                asyncio.get_running_loop().call_later(seconds + 0.01, self._let_go)
            before.retained_until = time.monotonic() + self._retain_seconds
            before.pinned_until = time.monotonic() + self._pin_seconds
            self._retired.insert(0, before)
            self._metrics.retire(self.channel.name, before.manifest.id, before.manifest.encoder.name)
        self._metrics.serve(self.channel.name, loaded.manifest.id, loaded.manifest.encoder.name)
        self._metrics.snapshot_created.set(loaded.manifest.created_at.timestamp())
        self._metrics.products.set(loaded.manifest.products)
        self._let_go()

    def _confirm(self, current: LoadedSnapshot, entry: Entry) -> None:
        current.entry = entry  # the channel moved, to the same snapshot
        self.refusal = None

    def _let_go(self, *, hold: bool = True) -> None:
        now = time.monotonic()
        self._retired = [loaded for loaded in self._retired if loaded.queries or (hold and loaded.is_wanted(now))]
        self._metrics.held.set(len(self.loaded))

    def _refuse(self, entry: Entry, error: Exception) -> None:
        again = self.refusal is not None and self.refusal.entry == entry
        attempts = self.refusal.attempts + 1 if again and self.refusal else 1
        pause = self._backoff.seconds(attempts + 1)
        self.refusal = Refusal(entry, str(error), attempts, time.monotonic() + pause)
        self._metrics.swap_failures.inc()
        kept = f"snapshot {self.current.entry.snapshot} goes on serving" if self.current else "nothing is served yet"
        _log.error(
            "snapshot %s cannot be served: %s; %s; next try in %.0f s",
            entry.snapshot, error, kept, pause,
            exc_info=not isinstance(error, LookalikeError),
        )  # fmt: skip

    def _note_unreachable(self, reason: str) -> None:
        if self.state.state != "unreachable":
            _log.warning("store %s cannot be read: %s", self.store.uri, reason)
        self.state = StoreState("unreachable", reason, self.state.failures + 1)
        self._metrics.store_reachable.set(0)

    async def _tidy(self, published: Published) -> None:
        """Note what is good, and remove what no snapshot in memory needs. Serving does not depend on either."""
        needed: set[Blob] = {blob for loaded in self.loaded for blob in loaded.manifest.blobs()}
        try:
            await in_thread(lambda: self._last_good.save(published), name="note snapshot")
            await in_thread(lambda: self._cache.keep_only(needed), name="clean cache")
        except OSError as error:
            _log.warning("the local cache cannot be kept in order: %s", error)

    async def _clean_cache(self, entry: Entry) -> None:
        """Remove at once what neither this server nor the new snapshot needs, so that the next try finds room."""
        loaded = {blob for one in self.loaded for blob in one.manifest.blobs()}

        def clean() -> None:
            needed = loaded.union(read_manifest(self.store, entry.snapshot).blobs())
            self._cache.keep_only(needed, grace_seconds=0)

        try:
            await in_thread(clean, name="clean cache")
        except (OSError, LookalikeError) as error:
            _log.warning("the local cache cannot be cleaned: %s", error)

    def _is_served(self, entry: Entry) -> bool:
        return self.current is not None and self.current.entry == entry

    def _is_waiting(self, entry: Entry) -> bool:
        return self.refusal is not None and self.refusal.entry == entry and time.monotonic() < self.refusal.retry_at

    def why_not_ready(self, *, in_short: bool = False) -> str:
        """Return a sentence about why no snapshot is loaded; `in_short` for callers, without buckets and folders."""
        if in_short and (self.refusal is not None or self.state.state == "unreachable"):
            what = "The store of snapshots" if self.refusal is None else "The newest snapshot"
            return f"{what} cannot be read: the server's log says why, and it tries again by itself."
        if self.refusal is not None:
            return f"Snapshot {self.refusal.entry.snapshot} cannot be opened: {self.refusal.reason}."
        if self.state.state == "unreachable":
            return f"The store cannot be read: {self.state.detail}."
        if self.state.state == "empty":
            return (
                f"Nothing has been published to channel {self.channel.name!r} yet: "
                "run `lookalike reindex CATALOGUE`; this server picks the snapshot up by itself."
            )
        return "The first snapshot is being opened: try again in a few seconds."
