"""`AsyncClient`: asks a server while other tasks run."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack

from lookalike_client import calls
from lookalike_client.arguments import QueryArguments, SearchOptions
from lookalike_client.calls import Call
from lookalike_client.embeddings import Embeddings
from lookalike_client.errors import LookalikeError
from lookalike_client.many import Outcome, ProgressCallback, Window, search_in_tasks, to_query
from lookalike_client.query import Query, ReadQuery
from lookalike_client.results import AsyncHit, AsyncProduct, HeldSnapshot, Products, SearchResult, Snapshot, Suggestion
from lookalike_client.retries import RetryPolicy
from lookalike_client.settings import DEFAULT_TIMEOUT, Settings, Way, read_environment
from lookalike_client.streaming.streamed import StreamedSearch, choose_stream, search_streamed

if TYPE_CHECKING:
    import httpx2

ResultT = TypeVar("ResultT")


class AsyncClient:
    """A server, to be asked. Tasks of one event loop may share one client; use it in an `async with` statement.

    The arguments are those of `Client`. Files are read in a thread, so that no task waits for a disk.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        verify: bool | str | ssl.SSLContext = True,
        proxy: str | None = None,
        trust_env: bool = True,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        from lookalike_client.http import AsyncHttp  # noqa: PLC0415 - it loads httpx2

        self._settings = Settings(url, api_key, timeout)
        self._retry = retry or RetryPolicy()
        self._way = Way(verify, proxy, trust_env)
        self._http = AsyncHttp(self._settings, self._way, transport=transport)
        self._can_stream = transport is None
        self._make_hit = partial(AsyncHit, client=self)
        self._make_product = partial(AsyncProduct, client=self)

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """Return a client by `LOOKALIKE_URL`, `LOOKALIKE_API_KEY` and `LOOKALIKE_TIMEOUT`. Raises ValueError."""
        found = read_environment()
        return cls(found.url, **{"api_key": found.api_key, "timeout": found.timeout, **options})

    @property
    def url(self) -> str:
        """The server's address."""
        return self._settings.url

    async def search(self, image: Any = None, /, **arguments: Unpack[QueryArguments]) -> SearchResult[AsyncHit]:
        """Return what looks like a picture (a path, bytes, an open file, a PIL image), a vector, or a product.

        Give exactly one of `image`, `product`, `vector`, `url`, `text` and `positive`; a `text` may stand beside one
        of the first four. Raises `LookalikeError`; OSError for a
        file that cannot be read; TypeError for an argument of the wrong type.
        """
        return await self.ask(Query(image, **arguments))

    async def ask(self, query: Query, *, timeout: float | None = None) -> SearchResult[AsyncHit]:  # noqa: ASYNC109 - with all tries
        """Return the answer to a query."""
        call = await asyncio.to_thread(calls.search, query, self._make_hit)
        return await self._run(call, timeout, self._retry)

    def search_many(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool = False,
        concurrency: int = 8,
        window: int | None = None,
        timeout: float = 120.0,
        progress: ProgressCallback | None = None,
        stream: bool | None = None,
        **options: Unpack[SearchOptions],
    ) -> AsyncGenerator[Outcome[AsyncHit], None]:
        """Search with each item, and yield one outcome for each: see `Client.search_many`."""
        run = Window[AsyncHit](items, ordered=ordered, concurrency=concurrency, window=window, progress=progress)
        patient = RetryPolicy(None, self._retry.first_seconds, self._retry.most_seconds)

        async def ask_http(read: ReadQuery, seconds: float) -> SearchResult[AsyncHit]:
            return await self._run(calls.search_read(read, self._make_hit), seconds, patient)

        async def answer(item: Any) -> SearchResult[AsyncHit]:
            read = await asyncio.to_thread(lambda: ReadQuery(to_query(item, options)))
            return await ask_http(read, timeout)

        if not choose_stream(stream, is_possible=self._can_stream):
            return search_in_tasks(run, answer)
        return search_streamed(
            run,
            self._settings,
            self._way,
            lambda opened: StreamedSearch(
                opened, ask_http, self._make_hit, options=options, seconds=timeout, policy=patient
            ),
        )

    async def embed(
        self, pictures: Sequence[Any], *, projected: bool = False, snapshot: str | None = None
    ) -> Embeddings:
        """Return the vectors that the snapshot's encoder makes of pictures, 64 at most: one or an error for each.

        `projected` vectors are as the index compares them; a search does not take such a vector.
        """
        call = await asyncio.to_thread(calls.embed, pictures, projected=projected, snapshot=snapshot)
        return await self._run(call)

    async def product(self, product_id: str) -> AsyncProduct:
        """Return a product. Raises `UnknownProductError`."""
        return await self._run(calls.product(product_id, self._make_product))

    async def products(
        self,
        *,
        limit: int | None = None,
        offset: int | None = None,
        filter: str | Sequence[str] | None = None,
        facets: str | Sequence[str] | None = None,
        facets_of: Literal["products", "hits"] | None = None,
        find: str | None = None,
        sort: str | None = None,
        snapshot: str | None = None,
    ) -> Products[AsyncProduct]:
        """Return some products that satisfy the filters, and what `find` has of a title or of an id's beginning."""
        given = {
            "limit": limit,
            "offset": offset,
            "filter": filter,
            "facets": facets,
            "facets_of": facets_of,
            "find": find,
            "sort": sort,
            "snapshot": snapshot,
        }
        return await self._run(calls.products(given, self._make_product))

    async def suggest(
        self,
        text: str,
        *,
        limit: int | None = None,
        filter: str | Sequence[str] | None = None,
        snapshot: str | None = None,
    ) -> tuple[Suggestion, ...]:
        """Return what a text may become whose last word is not finished, or misspelt, among products that satisfy."""
        return await self._run(calls.suggest(text, limit=limit, filter=filter, snapshot=snapshot))

    async def image(self, product_id: str, *, size: int | None = None, view: int | None = None) -> bytes:
        """Return a product's picture; with `size` (64, 128, 256, 512 or 1024) a small JPEG of it.

        `view` says which of several pictures, the first being 1.
        """
        return await self._run(calls.image(product_id, size, view))

    async def snapshot(self) -> Snapshot:
        """Return what is served, with its encoder and the attributes to filter by."""
        return await self._run(calls.snapshot())

    async def snapshots(self) -> tuple[HeldSnapshot, ...]:
        """Return the snapshots that can be asked by name."""
        return await self._run(calls.snapshots())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.url!r})"

    async def _run(
        self,
        call: Call[ResultT],
        timeout: float | None = None,  # noqa: ASYNC109 - with all tries
        retry: RetryPolicy | None = None,
    ) -> ResultT:
        deadline = time.monotonic() + (self._settings.timeout if timeout is None else timeout)
        policy, failed = retry or self._retry, 0
        while True:
            try:
                return call.read(await self._http.send(call.request, deadline))
            except LookalikeError as error:
                failed += 1
                delay = policy.delay(failed, error, deadline - time.monotonic())
                if delay is None:
                    raise
                failure = error
            await asyncio.sleep(delay)
            if time.monotonic() >= deadline:  # the wait took longer than it should: the error says more than the time
                raise failure
