"""The search service: what every gateway asks, whatever protocol it speaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.errors import FilterError, UnknownProductError
from data.images import read_image
from data.products import Product
from serving.batcher import Batcher, expired, overloaded
from serving.follower import Follower
from serving.held import BLANK, Held
from serving.metrics import Metrics
from serving.pictures import check_pixels
from serving.problems import ProblemError
from serving.settings import ServingSettings
from serving.threads import in_thread
from tasks.indexing.filters import Condition, matching
from tasks.searcher import Hit

Vectors = NDArray[np.float32]

PICTURE_READS = 16  # at a time: a store may take long to answer, and each read holds a picture in memory


@dataclass(frozen=True, slots=True)
class Ranking:
    """How hits are chosen: `k` of them, after the first `offset`, among products that satisfy all `conditions`."""

    k: int = 10
    offset: int = 0
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits, all from one snapshot."""

    snapshot: str
    hits: Sequence[Hit]


@dataclass(frozen=True, slots=True)
class Listing:
    """Some of `total` products of one snapshot."""

    snapshot: str
    total: int
    products: Sequence[Product]


class SearchService:
    """Answers from the follower's current snapshot. Every stage is bounded and measured."""

    def __init__(self, settings: ServingSettings, follower: Follower, metrics: Metrics) -> None:
        self.settings = settings
        self.follower = follower
        self.proved_at: float | None = None
        self.metrics = metrics
        self._in_progress = 0
        self._batcher = Batcher(
            max_batch=settings.batching.max_batch, max_queue=settings.batching.queue_size, metrics=metrics
        )
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._searchers = ThreadPoolExecutor(settings.share_of_processors, thread_name_prefix="search")
        self._picture_reads = asyncio.Semaphore(PICTURE_READS)

    async def by_image(self, image: bytes, ranking: Ranking, *, deadline: float) -> Answer:
        """Search for what looks like a picture. Raises `ImageRejectedError`, `ProblemError`, `FilterError`."""
        with self._admitted(), self.follower.lease() as held:
            check_attributes(held, ranking)
            vector = await self._embed(held, image, deadline)
            answer = await self._by_vector(held, vector, ranking)
            self.proved_at = time.monotonic()
            return answer

    async def by_vector(self, vector: Vectors, ranking: Ranking) -> Answer:
        """Search for what is near an encoder's vector. Raises `ProblemError`, `FilterError`."""
        with self._admitted(), self.follower.lease() as held:
            check_vector(vector, held.manifest.encoder.dimension)
            check_attributes(held, ranking)
            return await self._by_vector(held, vector, ranking)

    async def by_product(self, product: str, ranking: Ranking) -> Answer:
        """Search for what looks like a product, itself left out. Raises `UnknownProductError`, …"""
        with self._admitted(), self.follower.lease() as held:
            check_attributes(held, ranking)
            return await self._search(held, ranking, lambda k: held.searcher.similar(product, k, ranking.conditions))

    async def product(self, product: str) -> tuple[str, Product]:
        """Return the snapshot and a product of it. Raises `UnknownProductError`."""
        with self.follower.lease() as held:
            return held.manifest.id, held.searcher.product(product)

    def has_product(self, product: str) -> bool:
        """Tell whether there is a product of this id."""
        with self.follower.lease() as held:
            try:
                held.searcher.products.row(product)
            except UnknownProductError:
                return False
            return True

    async def products(self, ranking: Ranking) -> Listing:
        """Return some products that satisfy the conditions, as mixed as they lie in the index."""
        with self._admitted(), self.follower.lease() as held:
            check_attributes(held, ranking)
            find = partial(_list, held, ranking)
            return await asyncio.get_running_loop().run_in_executor(self._searchers, find)

    async def picture(self, product: str) -> bytes:
        """Return a product's picture as its catalogue has it. Raises `UnknownProductError`, `ImageRejectedError`."""
        _, found = await self.product(product)
        async with self._picture_reads:
            return await in_thread(lambda: read_image(found.image), name="read picture")

    async def prove(self) -> None:
        """Send a picture all the way through. Raises what goes wrong."""
        await self.by_image(BLANK, Ranking(k=1), deadline=time.monotonic() + self.settings.probe_seconds)

    async def encode_for_ever(self) -> None:
        """Run the batcher."""
        await self._batcher.run()

    def close(self) -> None:
        """Let the threads go."""
        self._batcher.close()
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._searchers.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._in_progress >= self.settings.batching.queue_size:
            self.metrics.shed.inc()
            raise overloaded(1.0)
        self._in_progress += 1
        self.metrics.in_progress.set(self._in_progress)
        try:
            yield
        finally:
            self._in_progress -= 1
            self.metrics.in_progress.set(self._in_progress)

    async def _embed(self, held: Held, image: bytes, deadline: float) -> Vectors:
        encoder = held.searcher.encoder

        def prepare() -> NDArray[np.uint8]:
            if time.monotonic() >= deadline:
                raise expired()
            with self.metrics.stage("decode"):
                check_pixels(image, self.settings.limits.max_pixels)
                return encoder.prepare(image)

        pixels = await asyncio.get_running_loop().run_in_executor(self._decoders, prepare)
        return await self._batcher.encode(encoder, pixels, deadline=deadline)

    async def _by_vector(self, held: Held, vector: Vectors, ranking: Ranking) -> Answer:
        if not vector.any():  # a picture without any feature: no direction, so nothing is near
            return Answer(held.manifest.id, [])
        return await self._search(held, ranking, lambda k: held.searcher.search(vector, k, ranking.conditions))

    async def _search(self, held: Held, ranking: Ranking, find: Callable[[int], list[Hit]]) -> Answer:
        def search() -> list[Hit]:
            with self.metrics.stage("search"), _comparable(ranking):
                return find(ranking.offset + ranking.k)

        hits = await asyncio.get_running_loop().run_in_executor(self._searchers, search)
        return Answer(held.manifest.id, hits[ranking.offset :])


def check_vector(vector: Vectors, wanted: int) -> None:
    """Raise `ProblemError` for a vector that the encoder cannot have made."""
    if len(vector) != wanted:
        detail = f"The vector has {len(vector)} numbers; the encoder of this snapshot makes {wanted}."
        raise ProblemError("vector_length", detail)
    if not np.isfinite(vector).all():
        raise ProblemError("vector_not_finite", "The vector holds NaN or Infinity: send finite numbers only.")
    if not vector.any():
        raise ProblemError("vector_zero", "The vector is all zeros: nothing is near it; send one with a direction.")


def check_attributes(held: Held, ranking: Ranking) -> None:
    """Raise `ProblemError` for a filter on an attribute that no product has."""
    known = held.searcher.products.attributes
    for condition in ranking.conditions:
        if condition.name not in known:
            names = ", ".join(sorted(known)) or "none"
            detail = f"There is no attribute {condition.name!r} to filter by; the attributes are: {names}."
            raise ProblemError("unknown_attribute", detail)


def _list(held: Held, ranking: Ranking) -> Listing:
    products = held.searcher.products
    with _comparable(ranking):
        rows = np.flatnonzero(matching(products, ranking.conditions))
    shown = products.take(rows[ranking.offset : ranking.offset + ranking.k])
    return Listing(held.manifest.id, len(rows), shown)


@contextmanager
def _comparable(ranking: Ranking) -> Iterator[None]:
    """Turn what Arrow says about values that cannot be compared into a filter's problem."""
    try:
        yield
    except (pa.ArrowException, OverflowError, TypeError) as error:
        if not ranking.conditions:
            raise
        raise FilterError(f"a filter cannot be applied to its attribute: {error}") from error
