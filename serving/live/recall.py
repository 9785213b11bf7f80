"""The recall probe: compares searches with exact search, in the background, at the lowest priority.

Its queries are pictures of the snapshot itself, each held out of its own answer, so it needs nobody's pictures. Exact
search visits every list of the index: what it cannot see is what the index's own compression loses.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from lookalike.serving.live.follower import Follower
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.tasks.search.neighbours import EQUAL, RECALL_AT
from lookalike.tasks.search.searcher import Searcher

WINDOW = 200
"""The gauge is the mean of so many last probes of the snapshot that is served."""
LOWEST = 19

_log = logging.getLogger(__name__)


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
