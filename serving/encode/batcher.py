"""The batcher: pictures, or texts, of all requests share an encoder, as many at a time as came while it was busy."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lookalike.data.spans import note_span
from lookalike.serving.errors import ProblemError, deadline_problem, encoder_problem, overload_problem
from lookalike.serving.telemetry.metrics import BatchMetrics

Vectors = NDArray[np.float32]

FIRST_GUESS_SECONDS = 0.02
"""That an item takes, until the first batch was measured."""

_log = logging.getLogger(__name__)


class _HasDimension(Protocol):
    @property
    def dimension(self) -> int: ...


class BatchEncoder(Protocol):
    """What a batcher needs to know of an encoder: how long its vectors are."""

    @property
    def spec(self) -> _HasDimension: ...


Item = TypeVar("Item")
"""What one vector is made of: the pixels of a picture, or the tokens of a text."""

E = TypeVar("E", bound=BatchEncoder)


@dataclass(eq=False, slots=True)
class _Waiting(Generic[E, Item]):
    """One prepared item. `deadline` is on the monotonic clock; `vector` is cancelled when nobody waits for it."""

    encoder: E
    item: Item
    deadline: float
    vector: asyncio.Future[Vectors]
    queued: float = field(default_factory=time.monotonic)
    started: float = 0.0


class Batcher(Generic[E, Item]):
    """Encodes items in `lanes` threads: an idle one takes all that wait as its next batch, up to `max_batch`.

    With `wait_seconds`, a batch that is not full is released only when its oldest item has waited so long. An item
    fails alone: a batch that fails is tried again one by one. `infer` gives the vectors of items, (n, dimension).
    """

    def __init__(
        self,
        infer: Callable[[E, Sequence[Item]], Vectors],
        *,
        max_batch: int,
        max_queue: int,
        metrics: BatchMetrics,
        wait_seconds: float = 0.0,
        lanes: int = 1,
    ) -> None:
        self._infer = infer
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._wait_seconds = wait_seconds
        self._metrics = metrics
        self._waiting: deque[_Waiting[E, Item]] = deque()
        self._arrived = asyncio.Event()
        self._grew = asyncio.Event()
        self._lanes = lanes
        self._threads = ThreadPoolExecutor(lanes, thread_name_prefix="encode")
        self._item_seconds = FIRST_GUESS_SECONDS

    def __len__(self) -> int:
        return len(self._waiting)

    async def encode(self, encoder: E, prepared: Item, *, deadline: float) -> Vectors:
        """Return the (dimension,) vector of one prepared item.

        Raises `ProblemError`: `overloaded` where too many wait, `deadline_exceeded`, or `internal` where the model
        fails on this very item.
        """
        if len(self._waiting) >= self._max_queue:
            raise overload_problem(self.seconds_for(len(self._waiting)))
        item = _Waiting(encoder, prepared, deadline, asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        self._metrics.queue.set(len(self._waiting))
        self._arrived.set()
        self._grew.set()
        try:
            return await item.vector
        finally:
            if item.started:  # in a batch with others, whose requests it is no part of
                note_span("queue", item.queued, item.started)
                note_span("encode", item.started, time.monotonic())

    async def run(self) -> None:
        """Encode for ever what arrives."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._lanes):
                group.create_task(self._lane())

    async def _lane(self) -> None:
        while True:
            await self._arrived.wait()
            reason = await self._fill()
            batch = self._take()
            if batch:
                self._metrics.released.labels(reason).inc()
                await self._encode(batch)

    def seconds_for(self, items: int) -> float:
        """Return how long so many items are likely to take, from how long the last ones took."""
        return items * self._item_seconds / self._lanes

    def oldest_wait(self) -> float:
        """Return for how many seconds the item has waited that waits longest; 0 where none does."""
        return time.monotonic() - self._waiting[0].queued if self._waiting else 0.0

    def close(self) -> None:
        """Stop the threads after their current batches."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _fill(self) -> str:
        """Wait for a fuller batch as long as it may take; return why it is released: `full`, `waited` or `idle`."""
        while len(self._waiting) < self._max_batch:
            if not self._wait_seconds:
                return "idle"
            left = self._wait_seconds - self.oldest_wait()
            if left <= 0 or not self._waiting:
                return "waited"
            self._grew.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._grew.wait(), left)
        return "full"

    def _take(self) -> list[_Waiting[E, Item]]:
        """Return the next items that are still wanted and share an encoder; the others keep their order."""
        batch: list[_Waiting[E, Item]] = []
        others: deque[_Waiting[E, Item]] = deque()
        now = time.monotonic()
        while self._waiting and len(batch) < self._max_batch:
            item = self._waiting.popleft()
            if self._is_dropped(item, now):
                continue
            (batch if not batch or item.encoder is batch[0].encoder else others).append(item)
        self._waiting.extendleft(reversed(others))
        self._metrics.queue.set(len(self._waiting))
        if not self._waiting:
            self._arrived.clear()
        for item in batch:
            self._metrics.queued.observe(now - item.queued)
        return batch

    def _is_dropped(self, item: _Waiting[E, Item], now: float) -> bool:
        if item.vector.done():
            self._metrics.dropped.labels("cancelled").inc()
            return True
        if now >= item.deadline:
            self._metrics.dropped.labels("expired").inc()
            item.vector.set_exception(deadline_problem())
            return True
        return False

    async def _encode(self, batch: Sequence[_Waiting[E, Item]]) -> None:
        start = time.monotonic()
        for item in batch:
            item.started = start
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(
                self._threads, _run, self._infer, batch[0].encoder, [item.item for item in batch]
            )
        except BaseException:
            for item in batch:  # the server stops, or a bug: nobody may wait for ever
                _finish(item, encoder_problem())
            raise
        for item, result in zip(batch, results, strict=True):
            _finish(item, result)
        seconds = time.monotonic() - start
        self._item_seconds += 0.2 * (seconds / len(batch) - self._item_seconds)
        self._metrics.encoded.observe(seconds)
        self._metrics.batches.observe(len(batch))


def _run(
    infer: Callable[[E, Sequence[Item]], Vectors], encoder: E, items: Sequence[Item]
) -> list[Vectors | ProblemError]:
    """Encode a batch; where that fails, one by one, so that only the culprit fails."""
    try:
        vectors = infer(encoder, items)
        if vectors.shape != (len(items), encoder.spec.dimension):
            raise ValueError(f"the encoder gave {vectors.shape} for {len(items)} items")
    except Exception as error:  # noqa: BLE001 - a model's errors share no base, and each item must get an answer
        if len(items) == 1:
            _log.exception("the encoder failed on an item")
            return [encoder_problem()]
        _log.warning("a batch of %d failed, its items are tried one by one: %s", len(items), error)
        return [result for one in items for result in _run(infer, encoder, [one])]
    return list(vectors)


def _finish(item: _Waiting[Any, Any], result: Vectors | ProblemError) -> None:
    if item.vector.done():
        return
    if isinstance(result, ProblemError):
        item.vector.set_exception(result)
    else:
        item.vector.set_result(result)
