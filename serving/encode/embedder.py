"""The embedder: from a picture's bytes to its vector. Identical pictures in flight are decoded and encoded once."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from lookalike.data.spans import span
from lookalike.serving.background import SingleFlight
from lookalike.serving.encode.batcher import Batcher
from lookalike.serving.errors import ProblemError, deadline_problem, overload_problem
from lookalike.serving.query.query import Crop, Picture
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
            infer_pictures,
            max_batch=batching.max_batch,
            max_queue=batching.queue_size,
            wait_seconds=batching.wait_ms / 1000,
            metrics=metrics.picture_batches,
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


def infer_pictures(encoder: Encoder, pixels: Sequence[Pixels]) -> Vectors:
    """Return the (n, dimension) vectors of prepared pictures."""
    return encoder.finish(encoder.infer(np.stack(pixels)))
