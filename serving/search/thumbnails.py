"""Thumbnails: small copies of product pictures, made once and kept in bounded memory."""

from __future__ import annotations

import asyncio
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cachetools import LRUCache
from PIL import Image

from lookalike.data.snapshots.products import Product
from lookalike.serving.background import SingleFlight
from lookalike.serving.encode.pictures import WAITING
from lookalike.serving.errors import overload_problem
from lookalike.serving.search.service import SearchService
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.tasks.images.decode import decode

SIZES = (64, 128, 256, 512, 1024)
"""Longest sides in pixels: a few, so that many callers share what is kept."""
QUALITY = 82
THREADS = 2  # queries come first
IN_HAND = 16  # pictures that were read and not made smaller yet: each is in memory, whole


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A JPEG, and what changes when it does."""

    data: bytes
    etag: str


class Thumbnails:
    """Makes them in a few threads, each at most once at a time."""

    def __init__(self, service: SearchService, metrics: Metrics, *, max_bytes: int) -> None:
        self._service = service
        self._metrics = metrics
        self._cache: LRUCache[tuple[str, int], Thumbnail] = LRUCache(max_bytes, lambda made: len(made.data))
        self._in_flight: SingleFlight[tuple[str, int], Thumbnail] = SingleFlight()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="thumbnail")
        self._in_hand = asyncio.Semaphore(IN_HAND)

    async def get(self, product: Product, size: int, view: int = 1) -> Thumbnail:
        """Return one of a product's pictures with a longest side of `size` pixels, or its own where that is shorter.

        Raises `ImageRejectedError`, `IndexError`, `ProblemError` where too many wait.
        """
        key = (product.view(view).image_hash, size)
        known = self._cache.get(key)
        if known is not None:
            self._metrics.thumbnails.labels("cached").inc()
            return known
        if key not in self._in_flight and len(self._in_flight) >= WAITING:
            self._metrics.shed.inc()
            raise overload_problem(1.0)
        return await self._in_flight.join(key, lambda: self._make(product, size, view))

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _make(self, product: Product, size: int, view: int) -> Thumbnail:
        async with self._in_hand:
            data = await self._service.picture(product, view)
            made = await asyncio.get_running_loop().run_in_executor(self._threads, self._reduce, data, size)
        self._metrics.thumbnails.labels("made").inc()
        expected = product.view(view).image_hash
        if hashlib.sha256(data).hexdigest() == expected and len(made.data) <= self._cache.maxsize:
            self._cache[expected, size] = made
        return made

    def _reduce(self, data: bytes, size: int) -> Thumbnail:
        with self._metrics.stage("thumbnail"):
            picture = decode(data, target=size)
            picture.thumbnail((size, size), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=QUALITY, optimize=True)
        reduced = buffer.getvalue()
        return Thumbnail(reduced, f'"{hashlib.sha256(reduced).hexdigest()[:32]}"')
