"""Picture reads: products' pictures from where the catalogue has them; so many at a time, and so many that wait."""

from __future__ import annotations

import asyncio

from lookalike.data.fetch.images import read_image
from lookalike.data.fetch.policy import FetchPolicy
from lookalike.data.snapshots.products import Product
from lookalike.serving.background import in_thread
from lookalike.serving.errors import overload_problem
from lookalike.serving.telemetry.metrics import Metrics

READS = 16  # at a time: a store may take long to answer, and each read holds a picture in memory
WAITING = 256
"""As many as queries may wait by default: a page of products asks for a hundred at once."""


class PictureReads:
    """A read that its caller has left goes on in its thread, and keeps its place until it has ended."""

    def __init__(self, policy: FetchPolicy, metrics: Metrics) -> None:
        self._policy = policy if policy.allowed_hosts else None
        self._metrics = metrics
        self._free = asyncio.Semaphore(READS)
        self._waiting = 0
        self._reading: set[asyncio.Task[bytes]] = set()

    async def read(self, product: Product) -> bytes:
        """Return a product's picture. Raises `ImageRejectedError`, `ProblemError` where too many wait."""
        await self._take_place()
        task = asyncio.create_task(
            in_thread(lambda: read_image(product.image, policy=self._policy), name="read picture")
        )
        self._reading.add(task)
        task.add_done_callback(self._give_place_back)
        return await asyncio.shield(task)

    def close(self) -> None:
        """Abandon what is being read."""
        for task in self._reading:
            task.cancel()

    async def _take_place(self) -> None:
        if self._waiting >= WAITING:
            self._metrics.shed.inc()
            raise overload_problem(1.0)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    def _give_place_back(self, task: asyncio.Task[bytes]) -> None:
        self._reading.discard(task)
        self._free.release()
        if not task.cancelled():
            task.exception()  # its caller may have left: nobody else asks
