"""The embedder: from a picture's bytes to its vector. Identical pictures in flight are decoded and encoded once.

Its batcher lets the pictures of all requests share the encoder: as many at a time as have come while it was busy.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from lookalike.data.spans import note_span, span
from lookalike.serving.background import SingleFlight
from lookalike.serving.errors import ProblemError, deadline_problem, encoder_problem, overload_problem
from lookalike.serving.search.query import Crop, Picture
from lookalike.serving.settings import ServingSettings
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.tasks.encoders.base import Encoder
from lookalike.tasks.images import preprocessing
from lookalike.tasks.images.decode import ImageLimits, decode

PIXELS_PER_BYTE = 200  # that a byte may stand for: a blank JPEG has 64, a blank PNG, the very bomb, has 340
HOPE = 0.5  # of the time left that those ahead may be expected to take: searching and replying take some, too
LARGE = 2**20  # bytes: from here on hashing takes so long that other requests would notice

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]

FIRST_GUESS_SECONDS = 0.02
"""That a picture takes, until the first batch was measured."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Key:
    """What decides a vector: the picture's content, the part of it that counts, and the encoder."""

    content: bytes
    crop: Crop | None
    fingerprint: str


class Embedder:
    """Decodes in a bounded pool, encodes in batches, and remembers the vectors of the last pictures, by setting."""

    def __init__(self, settings: ServingSettings, metrics: Metrics) -> None:
        batching = settings.batching
        self._limits = ImageLimits(max_pixels=settings.limits.max_pixels, pixels_per_byte=PIXELS_PER_BYTE)
        self._metrics = metrics
        self._batcher = Batcher(
            max_batch=batching.max_batch,
            max_queue=batching.queue_size,
            wait_seconds=batching.wait_ms / 1000,
            metrics=metrics,
            lanes=settings.lanes,
        )
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._in_flight: SingleFlight[_Key, Vectors] = SingleFlight()
        self._cache: LRUCache[_Key, Vectors] = LRUCache(batching.cached_vectors)
        self._pending = 0
        self.encoded_at = float("-inf")
        """When a picture last went through decoder and model, on the monotonic clock."""

    async def embed(self, encoder: Encoder, picture: Picture, *, deadline: float) -> Vectors:
        """Return a picture's (dimension,) vector, which nobody may change. Raises `ImageRejectedError`, `ProblemError`.

        `deadline` is on the monotonic clock.
        """
        key = _Key(await self._hash(picture.data), picture.crop, encoder.spec.fingerprint)
        known = self._cache.get(key)
        if known is not None:
            self._metrics.vectors.labels("cached").inc()
            return known
        self._metrics.vectors.labels("shared" if key in self._in_flight else "encoded").inc()
        while True:
            try:
                return await self._in_flight.join(key, lambda: self._encode_and_keep(encoder, picture, key, deadline))
            except ProblemError as problem:
                if problem.code != "deadline_exceeded" or time.monotonic() >= deadline:
                    raise  # else it was the time of whoever asked first that ran out

    async def embed_uncached(self, encoder: Encoder, picture: Picture, *, deadline: float) -> Vectors:
        """The same without the cache, through decoder and model, as a proof that they work."""
        ahead, left = self._batcher.seconds_for(self._pending), deadline - time.monotonic()
        if left <= 0:
            raise deadline_problem()
        if ahead > HOPE * left:
            self._metrics.shed.inc()
            raise overload_problem(ahead)  # now, instead of a 504 when the time has run out
        self._pending += 1
        try:
            return await self._through(encoder, picture, deadline)
        finally:
            self._pending -= 1

    async def _through(self, encoder: Encoder, picture: Picture, deadline: float) -> Vectors:
        def prepared() -> NDArray[np.uint8]:
            if time.monotonic() >= deadline:
                raise deadline_problem()
            with self._metrics.stage("decode"):
                return prepare_pixels(encoder, picture.data, picture.crop, self._limits)

        with span("decode"):
            pixels = await asyncio.get_running_loop().run_in_executor(self._decoders, prepared)
        vector = await self._batcher.encode(encoder, pixels, deadline=deadline)
        self.encoded_at = time.monotonic()
        return vector

    async def run(self) -> None:
        """Encode for ever what arrives."""
        await self._batcher.run()

    def oldest_wait(self) -> float:
        """Return for how many seconds the picture has waited that waits longest."""
        return self._batcher.oldest_wait()

    def close(self) -> None:
        """Let the threads go."""
        self._batcher.close()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    async def _hash(self, data: bytes) -> bytes:
        if len(data) < LARGE:
            return hashlib.sha256(data).digest()
        return await asyncio.get_running_loop().run_in_executor(self._decoders, lambda: hashlib.sha256(data).digest())

    async def _encode_and_keep(self, encoder: Encoder, picture: Picture, key: _Key, deadline: float) -> Vectors:
        vector = await self.embed_uncached(encoder, picture, deadline=deadline)
        vector = vector.copy()  # a row of a batch would keep the whole batch in memory
        vector.setflags(write=False)
        if self._cache.maxsize >= 1:  # else nothing is kept
            self._cache[key] = vector
        return vector


def prepare_pixels(encoder: Encoder, image: bytes, crop: Crop | None, limits: ImageLimits) -> NDArray[np.uint8]:
    """Decode one picture and fit what the crop leaves for an encoder: uint8 (size, size, 3).

    Raises `ImageRejectedError`.
    """
    if crop is None:
        return encoder.prepare(image, limits)
    fit = encoder.spec.preprocessing
    # The part must have the pixels that a whole picture would have: so much more of the whole is decoded.
    enlarged = preprocessing.needed(fit) / min(crop.right - crop.left, crop.bottom - crop.top)
    picture = decode(image, limits=limits, target=math.ceil(min(enlarged, limits.max_pixels)))
    return preprocessing.apply(fit, crop.cut(picture))


@dataclass(eq=False, slots=True)
class _Item:
    """One prepared picture. `deadline` is on the monotonic clock; `vector` is cancelled when nobody waits for it."""

    encoder: Encoder
    pixels: Pixels
    deadline: float
    vector: asyncio.Future[Vectors]
    queued: float = field(default_factory=time.monotonic)
    started: float = 0.0


class Batcher:
    """Encodes pictures in `lanes` threads: an idle one takes all that wait as its next batch, up to `max_batch`.

    With `wait_seconds`, a batch that is not full is released only when its oldest item has waited so long. An item
    fails alone: a batch that fails is tried again one by one.
    """

    def __init__(
        self, *, max_batch: int, max_queue: int, metrics: Metrics, wait_seconds: float = 0.0, lanes: int = 1
    ) -> None:
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._wait_seconds = wait_seconds
        self._metrics = metrics
        self._waiting: deque[_Item] = deque()
        self._arrived = asyncio.Event()
        self._grew = asyncio.Event()
        self._lanes = lanes
        self._threads = ThreadPoolExecutor(lanes, thread_name_prefix="encode")
        self._item_seconds = FIRST_GUESS_SECONDS

    def __len__(self) -> int:
        return len(self._waiting)

    async def encode(self, encoder: Encoder, pixels: Pixels, *, deadline: float) -> Vectors:
        """Return the (dimension,) vector of one prepared picture.

        Raises `ProblemError`: `overloaded` where too many wait, `deadline_exceeded`, or `internal` where the model
        fails on this very picture.
        """
        if len(self._waiting) >= self._max_queue:
            raise overload_problem(self.seconds_for(len(self._waiting)))
        item = _Item(encoder, pixels, deadline, asyncio.get_running_loop().create_future())
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

    def seconds_for(self, pictures: int) -> float:
        """Return how long so many pictures are likely to take, from how long the last ones took."""
        return pictures * self._item_seconds / self._lanes

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

    def _take(self) -> list[_Item]:
        """Return the next items that are still wanted and share an encoder; the others keep their order."""
        batch: list[_Item] = []
        others: deque[_Item] = deque()
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
            self._metrics.stages.labels("queue").observe(now - item.queued)
        return batch

    def _is_dropped(self, item: _Item, now: float) -> bool:
        if item.vector.done():
            self._metrics.dropped.labels("cancelled").inc()
            return True
        if now >= item.deadline:
            self._metrics.dropped.labels("expired").inc()
            item.vector.set_exception(deadline_problem())
            return True
        return False

    async def _encode(self, batch: Sequence[_Item]) -> None:
        start = time.monotonic()
        for item in batch:
            item.started = start
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(
                self._threads, _infer, batch[0].encoder, [item.pixels for item in batch]
            )
        except BaseException:
            for item in batch:  # the server stops, or a bug: nobody may wait for ever
                _finish(item, encoder_problem())
            raise
        for item, result in zip(batch, results, strict=True):
            _finish(item, result)
        seconds = time.monotonic() - start
        self._item_seconds += 0.2 * (seconds / len(batch) - self._item_seconds)
        self._metrics.stages.labels("encode").observe(seconds)
        self._metrics.batches.observe(len(batch))


def _infer(encoder: Encoder, pixels: Sequence[Pixels]) -> list[Vectors | ProblemError]:
    """Encode a batch; where that fails, one by one, so that only the culprit fails."""
    try:
        vectors = encoder.finish(encoder.infer(np.stack(pixels)))
        if vectors.shape != (len(pixels), encoder.spec.dimension):
            raise ValueError(f"the encoder gave {vectors.shape} for {len(pixels)} pictures")
    except Exception as error:  # noqa: BLE001 - a model's errors share no base, and each item must get an answer
        if len(pixels) == 1:
            _log.exception("the encoder failed on a picture")
            return [encoder_problem()]
        _log.warning("a batch of %d failed, its pictures are tried one by one: %s", len(pixels), error)
        return [result for one in pixels for result in _infer(encoder, [one])]
    return list(vectors)


def _finish(item: _Item, result: Vectors | ProblemError) -> None:
    if item.vector.done():
        return
    if isinstance(result, ProblemError):
        item.vector.set_exception(result)
    else:
        item.vector.set_result(result)
