"""Probes of the served snapshot, in the background: readiness, its pictures, and recall at the lowest priority.

Readiness is proven by a picture that went all the way through, not claimed. Recall compares searches with exact search:
its queries are pictures of the snapshot itself, each held out of its own answer, so it needs nobody's pictures. Exact
search visits every list of the index: what it cannot see is what the index's own compression loses.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import LookalikeError
from lookalike.data.snapshots.products import Product
from lookalike.serving.live.follower import Follower
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.tasks.search.neighbours import EQUAL, RECALL_AT
from lookalike.tasks.search.searcher import Searcher

PROOF_LASTS = 6  # probes: a few may be late on a busy machine

WINDOW = 200
"""The gauge is the mean of so many last probes of the snapshot that is served."""
TRIED = 4
"""Pictures of a snapshot."""
LOWEST = 19

_log = logging.getLogger(__name__)


class Readiness:
    """Sends a picture through the service whenever no query has proved it for a while.

    `prove` sends one. `proved_at` says when one last went through, on the monotonic clock, None where none has yet.
    """

    def __init__(
        self,
        follower: Follower,
        metrics: Metrics,
        *,
        prove: Callable[[], Awaitable[None]],
        proved_at: Callable[[], float | None],
        seconds: float,
    ) -> None:
        self._follower = follower
        self._metrics = metrics
        self._send_picture = prove
        self._proved_at = proved_at
        self._seconds = seconds
        self._problem = "no picture has gone through yet"

    def age(self) -> float | None:
        """Return how many seconds ago a picture last went through."""
        proved_at = self._proved_at()
        return None if proved_at is None else round(time.monotonic() - proved_at, 3)

    def state(self) -> tuple[bool, str]:
        """Return whether queries are answered, and a sentence about it."""
        follower = self._follower
        age = self.age()
        if follower.current is None:
            return False, follower.why_not_ready()
        if age is None or age > PROOF_LASTS * self._seconds:
            return False, f"A snapshot is held, but no picture went through lately: {self._problem}."
        if follower.refusal is not None:
            return True, f"A newer snapshot cannot be served, the one before goes on: {follower.refusal.reason}."
        if follower.state.state != "ok":
            return True, f"The last good snapshot goes on serving: {follower.state.detail}."
        return True, "Queries are answered."

    async def run(self) -> None:
        """Prove for ever."""
        while True:
            age = self.age()
            if self._follower.current is not None and (age is None or age >= self._seconds):
                await self._prove()
            self._metrics.ready.set(self.state()[0])
            await asyncio.sleep(self._seconds if self.age() is not None else min(0.1, self._seconds))

    async def _prove(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._send_picture()
        except Exception as error:  # noqa: BLE001 - of any kind: the probe failed
            self._problem = str(error) or type(error).__name__
            _log.warning("the probe failed: %s", self._problem)


class PictureProbe:
    """Tries once for each snapshot whether pictures of its products can be read; `read` gives one.

    Where none can, searches are answered and pages stay empty: that is told at once, and not found by a visitor.
    """

    def __init__(self, follower: Follower, *, read: Callable[[Product], Awaitable[bytes]]) -> None:
        self._follower = follower
        self._read = read
        self.tried = ""
        """The snapshot that was tried last."""

    async def run(self) -> None:
        """Try for ever, a snapshot at a time."""
        while True:
            if self._follower.current is not None:
                await self._try_newest()
            await asyncio.sleep(1.0)

    async def _try_newest(self) -> None:
        with self._follower.lease() as loaded:
            if loaded.manifest.id == self.tried:
                return
            products = loaded.searcher.products
            places = np.linspace(0, len(products) - 1, min(TRIED, len(products)), dtype=int)
            chosen = [loaded.searcher.product(products.any_id(int(place))) for place in places]
        self.tried = loaded.manifest.id
        problems: list[str] = []
        for product in chosen:
            problem = await self._find_problem(product)
            if not problem:
                return
            problems.append(problem)
        if problems:
            _log.warning(
                "of %d products that were tried, no picture can be read, so the search page shows none: %s",
                len(problems), problems[0],
            )  # fmt: skip

    async def _find_problem(self, product: Product) -> str:
        try:
            await self._read(product)
        except LookalikeError as error:
            return str(error)
        return ""


class RecallProbe:
    """Probes one product every `seconds`; 0 never does."""

    def __init__(self, follower: Follower, metrics: Metrics, *, seconds: float) -> None:
        self._follower = follower
        self._metrics = metrics
        self._seconds = seconds
        self._random = np.random.default_rng()
        self._snapshot = ""
        self._last: deque[float] = deque(maxlen=WINDOW)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recall", initializer=_lower_priority)

    async def run(self) -> None:
        """Probe for ever, as often as set."""
        while True:
            await asyncio.sleep(self._seconds or 3600)
            if self._seconds and self._follower.current is not None:
                await self._probe()

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _probe(self) -> None:
        with self._follower.lease() as loaded:
            reached = await asyncio.get_running_loop().run_in_executor(
                self._thread, probe, loaded.searcher, self._random
            )
            if loaded.manifest.id != self._snapshot:
                self._snapshot = loaded.manifest.id
                self._last.clear()
        self._last.append(reached)
        self._metrics.recall_probes.inc()
        self._metrics.recall.labels(str(RECALL_AT)).set(sum(self._last) / len(self._last))


def probe(searcher: Searcher, random: np.random.Generator) -> float:
    """Return which share of a random product's true ten neighbours a search finds, all that show its picture held out.

    They would be found by any search, and somebody's photo has none that shows it.
    """
    products = searcher.products
    row = products.row(products.any_id(int(random.integers(len(products)))))
    direction, others = searcher.direction_of(row), _others(searcher, row)
    true = searcher.nearest(direction, RECALL_AT, others, exact=True)
    if not len(true):
        return 1.0
    found = searcher.nearest(direction, RECALL_AT, others)
    # Several products may show one picture: which of those with equal scores is found is no error.
    return float((found.scores >= true.scores[-1] - EQUAL).sum() / len(true))


def _others(searcher: Searcher, row: int) -> NDArray[np.bool_]:
    """Return a mask (rows,) of what can be found and shows another picture."""
    alive = searcher.products.alive
    others = np.ones(searcher.products.rows, bool) if alive is None else alive.copy()
    others[searcher.duplicates.exact.members(row)] = False
    return others


def _lower_priority() -> None:
    """Let this thread run only when no other wants to; Linux keeps a priority for each."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST)
