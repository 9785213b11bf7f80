"""The search service: what the gateways of all protocols call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TypeVar

import numpy as np

from lookalike.data.errors import ImageRejectedError, LookalikeError
from lookalike.data.snapshots.products import Product
from lookalike.data.spans import span
from lookalike.serving.budget import Share
from lookalike.serving.context import current
from lookalike.serving.encode.embedder import Embedder
from lookalike.serving.encode.pictures import PictureReads, UrlReader
from lookalike.serving.encode.text_embedder import TextEmbedder
from lookalike.serving.errors import ProblemError, as_problem, overload_problem
from lookalike.serving.live.follower import Follower
from lookalike.serving.live.loaded import BLANK, LoadedSnapshot
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.query.query import (
    EmbedQuery,
    EncoderVector,
    Example,
    Picture,
    PictureUrl,
    ProductId,
    Query,
    Text,
    TextVectors,
    Vectors,
)
from lookalike.serving.search.answers import Answer, Answers, Embeddings, Listing
from lookalike.serving.search.directions import Given, find_text_encoders
from lookalike.serving.search.finding import check_attributes, complete_text, find_answer, list_products
from lookalike.serving.search.quick import find_times
from lookalike.serving.search.reply_room import ReplyRoom
from lookalike.serving.search.suggestions import check_suggestion
from lookalike.serving.settings import ServingSettings
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.tasks.encoders.texts.base import TextEncoder
from lookalike.tasks.search.searcher import Searcher
from lookalike.tasks.search.words.words import Completion

LARGE_REPLY = 100
"""Hits from which a reply is written in a thread: writing them takes so long that other requests would notice."""

BATCHED = 8
"""Queries of batches in progress for each processor: other queries do not wait for more of them."""

MEASURE_SECONDS = 1.0

T = TypeVar("T")

_log = logging.getLogger(__name__)

Deliver = Callable[[int, str, Answer | ProblemError], Awaitable[None]]
"""Takes the answer to one query of several: its place among them, the snapshot, and what came of it."""


class SearchService:
    """Answers from the current snapshot, or one that is still loaded. Every stage is bounded and measured."""

    def __init__(self, settings: ServingSettings, follower: Follower, metrics: Metrics) -> None:
        self.settings = settings
        self.follower = follower
        self.metrics = metrics
        self.proved_at: float | None = None
        """When a picture last went through decoder, model and index, on the monotonic clock."""
        self._in_progress = 0
        self._batched = asyncio.Semaphore(BATCHED * settings.share_of_processors)
        self._embedder = Embedder(settings, metrics)
        self._text_embedder = TextEmbedder(settings, metrics)
        self._urls = UrlReader(settings.urls.policy(), metrics)
        self._writers = ThreadPoolExecutor(settings.share_of_processors, thread_name_prefix="write")
        self._pictures = PictureReads(settings.fetch.policy(), metrics)
        self._searchers = ThreadPoolExecutor(settings.share_of_processors, thread_name_prefix="search")

    async def search(self, query: Query, *, deadline: float) -> Answer:
        """Answer one query. Raises `ImageRejectedError`, `ProblemError`, `FilterError`, `UnknownProductError`."""
        with self._take_place(), self.follower.lease(query.options.snapshot) as loaded:
            return await self._answer(loaded, query, deadline, self._room(), at_once=True)

    async def search_in_turn(self, query: Query, *, deadline: float) -> Answer:
        """Answer one query of many, as of a stream: as `search` does, but never before those who ask for one alone.

        Only so many of them are in progress at a time, those of batches included; the others hold no place.
        """
        async with self._batched:
            return await self.search(query, deadline=deadline)

    async def search_all(
        self, queries: Sequence[Query | ProblemError], snapshot: str | None, *, deadline: float
    ) -> Answers:
        """Answer each query for itself, all from one snapshot. Raises `ProblemError` where there is no snapshot."""
        with self.follower.lease(snapshot) as loaded:
            room = self._room()

            work = [
                query if isinstance(query, ProblemError) else partial(self._answer, loaded, query, deadline, room)
                for query in queries
            ]
            return Answers(loaded.manifest.id, await self._answer_each(work, deadline))

    async def search_each(
        self,
        queries: Sequence[Query | ProblemError],
        snapshot: str | None,
        deliver: Deliver,
        shares: Callable[[], AbstractContextManager[Share]],
        *,
        deadline: float,
    ) -> None:
        """Answer each query for itself, all from one snapshot, and hand each answer on as soon as it is ready.

        Only a few are answered, or wait to be handed on, at a time; each has a share of its own among replies.
        Raises `ProblemError` where there is no snapshot.
        """
        with self.follower.lease(snapshot) as loaded:
            coming = iter(enumerate(queries))

            async def work() -> None:
                for place, query in coming:
                    with shares() as share:
                        room = ReplyRoom(self.settings.limits.max_reply_bytes, share)
                        asked = (
                            query
                            if isinstance(query, ProblemError)
                            else partial(self._answer, loaded, query, deadline, room)
                        )
                        await deliver(place, loaded.manifest.id, await self._answer_one(asked, deadline))

            async with asyncio.TaskGroup() as workers:
                for _ in range(min(len(queries), BATCHED * self.settings.share_of_processors)):
                    workers.create_task(work())

    async def embed(self, asked: EmbedQuery, *, deadline: float) -> Embeddings:
        """Return a vector for each picture, or what is wrong with it. Raises `ProblemError` without a snapshot."""
        with self.follower.lease(asked.snapshot) as loaded:
            work = [
                one if isinstance(one, ProblemError) else partial(self._embed, loaded, one, deadline)
                for one in asked.pictures
            ]
            vectors = await self._answer_each(work, deadline)
            if asked.is_projected:
                vectors = [_project(loaded.searcher, vector) for vector in vectors]
            manifest = loaded.manifest
            dimension = manifest.index.dimension if asked.is_projected else manifest.encoder.dimension
            return Embeddings(manifest.id, manifest.encoder, dimension, asked.is_projected, vectors)

    async def product(self, product: str) -> tuple[str, Product]:
        """Return the snapshot and a product of it. Raises `UnknownProductError`."""
        with self.follower.lease() as loaded:
            return loaded.manifest.id, loaded.searcher.product(product)

    def has_product(self, product: str) -> bool:
        """Tell whether there is a product of this id."""
        with self.follower.lease() as loaded:
            return loaded.searcher.products.has(product)

    async def products(self, options: QueryOptions, find: str | None = None) -> Listing:
        """Return some products that satisfy the conditions: those that are looked up, or as mixed as the index is."""
        with self._take_place(), self.follower.lease(options.snapshot) as loaded:
            check_attributes(loaded, options)
            return await self._in_searcher(partial(list_products, loaded, options, find, self._room()))

    async def suggest(self, text: str, limit: int, options: QueryOptions) -> tuple[str, Sequence[Completion]]:
        """Return the snapshot, and what a text may become, among the products that satisfy the conditions."""
        check_suggestion(text, limit)
        with self._take_place(), self.follower.lease(options.snapshot) as loaded:
            check_attributes(loaded, options)
            return loaded.manifest.id, await self._in_searcher(partial(complete_text, loaded, text, limit, options))

    async def picture(self, product: Product, view: int = 1) -> bytes:
        """Return one of a product's pictures as its catalogue has it, the first of which is 1.

        Raises `ImageRejectedError`, `IndexError`, `ProblemError`.
        """
        return await self._pictures.read(product.view(view))

    async def write(self, function: Callable[[], T], *, hits: int) -> T:
        """Run what writes a reply of so many hits, where nobody has to wait for it."""
        with span("write"), self.metrics.stage("hydrate"):
            if hits < LARGE_REPLY:
                return function()
            return await asyncio.get_running_loop().run_in_executor(self._writers, function)

    async def prove(self) -> None:
        """Send a picture all the way through, past all that is remembered. Raises what goes wrong."""
        deadline = time.monotonic() + self.settings.probe_seconds
        with self._take_place(), self.follower.lease() as loaded:
            vector = await self._embedder.embed_uncached(loaded.searcher.encoder, Picture(BLANK), deadline=deadline)
            await self._in_searcher(lambda: loaded.searcher.search(vector, 1))
            self.proved_at = time.monotonic()

    async def run_batcher(self) -> None:
        """Run the batcher of pictures."""
        await self._embedder.run()

    async def run_text_batcher(self) -> None:
        """Run the batcher of texts."""
        await self._text_embedder.run()

    async def sample_gauges(self) -> None:
        """Measure every second how long the oldest picture waits, also when nothing moves."""
        while True:
            self.metrics.oldest.set(self._embedder.oldest_wait())
            await asyncio.sleep(MEASURE_SECONDS)

    def close(self) -> None:
        """Let the threads go."""
        self._embedder.close()
        self._text_embedder.close()
        self._urls.close()
        self._pictures.close()
        self._searchers.shutdown(wait=False, cancel_futures=True)
        self._writers.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _take_place(self) -> Iterator[None]:
        if self._in_progress >= self.settings.batching.queue_size:
            self.metrics.shed.inc()
            raise overload_problem(1.0)
        self._in_progress += 1
        self.metrics.in_progress.set(self._in_progress)
        try:
            yield
        finally:
            self._in_progress -= 1
            self.metrics.in_progress.set(self._in_progress)

    async def _answer_each(
        self, work: Sequence[Callable[[], Awaitable[T]] | ProblemError], deadline: float
    ) -> list[T | ProblemError]:
        """Answer each part of a batch for itself; what could not be read is its own answer."""
        return await asyncio.gather(*(self._answer_one(one, deadline) for one in work))

    async def _answer_one(self, work: Callable[[], Awaitable[T]] | ProblemError, deadline: float) -> T | ProblemError:
        if isinstance(work, ProblemError):
            return work
        try:
            async with asyncio.timeout_at(deadline):
                async with self._batched:
                    with self._take_place():
                        return await work()
        except TimeoutError:
            return ProblemError("deadline_exceeded", "There was no time left for this one: send smaller batches.")
        except LookalikeError as error:
            return _forget_frames(as_problem(error))
        except Exception:  # noqa: BLE001 - a bug in one must not cost the others their answers
            _log.exception("one of a batch failed")
            return ProblemError("internal", "The server failed to answer this one: try again, and tell its operator.")

    async def _answer(
        self, loaded: LoadedSnapshot, query: Query, deadline: float, room: ReplyRoom, *, at_once: bool = False
    ) -> Answer:
        """Answer one query; `at_once` lets a quick search be done here, which would add up in a batch."""
        room.check()
        check_attributes(loaded, query.options)
        began = time.monotonic()
        rows = [_find_row(loaded, example) for example in query.examples]
        vectors = await self._vectors(loaded, query, deadline)
        with span("search"):
            search = partial(find_answer, loaded, query, rows, vectors, room, self.metrics)
            times = find_times(loaded.searcher, query) if at_once else None
            if times is None:
                answer = await self._in_searcher(search)
            elif times.are_short:
                answer = times.measure(search)
            else:
                answer = await self._in_searcher(partial(times.measure, search))
        if answer.hits and _has_picture(query) and self._embedder.encoded_at >= began:  # else its vector was known
            self.proved_at = time.monotonic()
        if _shows_best(query):
            self.metrics.best_scores.observe(max((hit.score for hit in answer.hits), default=-1.0))
        return answer

    async def _vectors(self, loaded: LoadedSnapshot, query: Query, deadline: float) -> Sequence[Given]:
        """Return the vector of each example, and those of a text; None for products, which the index knows."""
        if len(query.examples) == 1:
            return [await self._vector(loaded, query, query.examples[0], deadline)]
        tasks = [
            asyncio.ensure_future(_name_example(self._vector(loaded, query, example, deadline), place))
            for place, example in enumerate(query.examples, 1)
        ]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _vector(self, loaded: LoadedSnapshot, query: Query, example: Example, deadline: float) -> Given:
        if isinstance(example, ProductId):
            return None
        if isinstance(example, Text):
            encoders = find_text_encoders(loaded.searcher, query)
            return TextVectors(*[await self._embed_text(encoder, example, deadline) for encoder in encoders])
        if isinstance(example, EncoderVector):
            _check_vector(example.vector, loaded.manifest.encoder.dimension)
            return example.vector
        return await self._embed(loaded, example, deadline)

    async def _embed_text(self, encoder: TextEncoder | None, text: Text, deadline: float) -> Vectors | None:
        if encoder is None:
            return None
        return await self._text_embedder.embed(encoder, text.text, deadline=deadline)

    async def _embed(self, loaded: LoadedSnapshot, picture: Picture | PictureUrl, deadline: float) -> Vectors:
        if isinstance(picture, PictureUrl):
            with span("fetch"):
                picture = Picture(await self._urls.read(picture.url, deadline=deadline), picture.crop)
        return await self._embedder.embed(loaded.searcher.encoder, picture, deadline=deadline)

    def _room(self) -> ReplyRoom:
        """Return the room for the reply to the request that is being answered."""
        request = current()
        return ReplyRoom(self.settings.limits.max_reply_bytes, request.reply if request else None)

    async def _in_searcher(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._searchers, function)


def _forget_frames(problem: ProblemError) -> ProblemError:
    """Let a problem that is kept keep nothing but itself: frames hold pictures and products."""
    problem.__cause__ = problem.__context__ = None
    return problem.with_traceback(None)


async def _name_example(work: Awaitable[Given], place: int) -> Given:
    """Say of a query with several examples which one it is that cannot be used."""
    try:
        return await work
    except ImageRejectedError as error:
        raise ImageRejectedError(error.reason, f"example {place}: {error}") from error
    except ProblemError as problem:
        raise ProblemError(problem.code, f"Example {place}: {problem}", retry_after=problem.retry_after) from problem


def _project(searcher: Searcher, vector: Vectors | ProblemError) -> Vectors | ProblemError:
    if isinstance(vector, ProblemError):
        return vector
    if not vector.any():
        return ProblemError(
            "vector_zero", "The encoder finds nothing in this picture: it has no direction in the index."
        )
    return searcher.direction(vector)


def _has_picture(query: Query) -> bool:
    return any(isinstance(example, Picture | PictureUrl) for example in query.examples)


def _shows_best(query: Query) -> bool:
    """Tell whether the best hit says how well the catalogue answers: a product always finds something like it.

    Scores of texts are not those of pictures.
    """
    options = query.options
    is_first = not options.offset and options.min_score is None
    return is_first and not any(isinstance(example, ProductId | Text) for example in query.examples)


def _find_row(loaded: LoadedSnapshot, example: Example) -> int | None:
    return loaded.searcher.products.row(example.product) if isinstance(example, ProductId) else None


def _check_vector(vector: Vectors, wanted: int) -> None:
    """Raise `ProblemError` for a vector that the encoder cannot have made."""
    if len(vector) != wanted:
        detail = f"The vector has {len(vector)} numbers; the encoder of this snapshot makes {wanted}."
        raise ProblemError("vector_length", detail)
    if not np.isfinite(vector).all():
        raise ProblemError("vector_not_finite", "The vector holds NaN or Infinity: send finite numbers only.")
    if not vector.any():
        raise ProblemError("vector_zero", "The vector is all zeros: nothing is near it; send one with a direction.")
