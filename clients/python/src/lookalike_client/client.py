"""`Client`: asks a server and waits for the answer."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack

from lookalike_client import calls
from lookalike_client.arguments import QueryArguments, SearchOptions
from lookalike_client.calls import Call
from lookalike_client.embeddings import Embeddings
from lookalike_client.errors import LookalikeError
from lookalike_client.many import Outcome, ProgressCallback, Window, search_in_threads, to_query
from lookalike_client.query import Query, ReadQuery
from lookalike_client.results import HeldSnapshot, Hit, Product, Products, SearchResult, Snapshot, Suggestion
from lookalike_client.retries import RetryPolicy
from lookalike_client.settings import DEFAULT_TIMEOUT, Settings, Way, read_environment
from lookalike_client.streaming.streamed import StreamedSearch, choose_stream, search_in_loop

if TYPE_CHECKING:
    import httpx2

ResultT = TypeVar("ResultT")


class Client:
    """A server, to be asked. Threads may share one client; close it, or use it in a `with` statement.

    `timeout` is how many seconds a call may take with all its tries. `verify` is a file with certificates of
    authorities, an `ssl.SSLContext`, or False for a server that nobody vouches for. `proxy` is the address of a proxy.
    Without `trust_env` the variables of the environment for proxies and certificates are ignored; for a server on this
    machine they always are.
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
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        from lookalike_client.http import Http  # noqa: PLC0415 - it loads httpx2

        self._settings = Settings(url, api_key, timeout)
        self._retry = retry or RetryPolicy()
        self._way = Way(verify, proxy, trust_env)
        self._http = Http(self._settings, self._way, transport=transport)
        self._can_stream = transport is None
        self._make_hit = partial(Hit, client=self)
        self._make_product = partial(Product, client=self)

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """Return a client by `LOOKALIKE_URL`, `LOOKALIKE_API_KEY` and `LOOKALIKE_TIMEOUT`. Raises ValueError."""
        found = read_environment()
        return cls(found.url, **{"api_key": found.api_key, "timeout": found.timeout, **options})

    @property
    def url(self) -> str:
        """The server's address."""
        return self._settings.url

    def search(self, image: Any = None, /, **arguments: Unpack[QueryArguments]) -> SearchResult[Hit]:
        """Return what looks like a picture (a path, bytes, an open file, a PIL image), a vector, or a product.

        Give exactly one of `image`, `product`, `vector`, `url`, `text` and `positive`; a `text` may stand beside one
        of the first four. Raises `LookalikeError`; OSError for a
        file that cannot be read; TypeError for an argument of the wrong type.
        """
        return self.ask(Query(image, **arguments))

    def ask(self, query: Query, *, timeout: float | None = None) -> SearchResult[Hit]:
        """Return the answer to a query."""
        return self._run(calls.search(query, self._make_hit), timeout, self._retry)

    def search_many(
        self,
        items: Iterable[Any],
        *,
        ordered: bool = False,
        concurrency: int = 8,
        window: int | None = None,
        timeout: float = 120.0,
        progress: ProgressCallback | None = None,
        stream: bool | None = None,
        **options: Unpack[SearchOptions],
    ) -> Generator[Outcome[Hit], None, None]:
        """Search with each item, and yield one outcome for each: an answer or an error. No item is lost or doubled.

        Items are what `search` takes first, or `Query` objects; `options` are for those that are no `Query`. Outcomes
        come as they are ready, or in order. `items` is read no further than `window` (twice `concurrency`) beyond the
        outcomes that were taken. An item is tried again until its `timeout` has passed, so a server may restart.

        With the extra `stream`, items go over one WebSocket where the server has streams, and over `concurrency`
        connections of HTTP elsewhere. `stream` says that it must be installed, or with False that HTTP is to be used.
        """
        run = Window[Hit](items, ordered=ordered, concurrency=concurrency, window=window, progress=progress)
        patient = RetryPolicy(None, self._retry.first_seconds, self._retry.most_seconds)

        def ask_http(read: ReadQuery, seconds: float) -> SearchResult[Hit]:
            return self._run(calls.search_read(read, self._make_hit), seconds, patient)

        async def ask_http_beside(read: ReadQuery, seconds: float) -> SearchResult[Hit]:
            return await asyncio.to_thread(ask_http, read, seconds)

        if not choose_stream(stream, is_possible=self._can_stream):
            return search_in_threads(run, lambda item: ask_http(ReadQuery(to_query(item, options)), timeout))
        return search_in_loop(
            run,
            self._settings,
            self._way,
            lambda opened: StreamedSearch(
                opened, ask_http_beside, self._make_hit, options=options, seconds=timeout, policy=patient
            ),
        )

    def embed(self, pictures: Sequence[Any], *, projected: bool = False, snapshot: str | None = None) -> Embeddings:
        """Return the vectors that the snapshot's encoder makes of pictures, 64 at most: one or an error for each.

        `projected` vectors are as the index compares them; a search does not take such a vector.
        """
        return self._run(calls.embed(pictures, projected=projected, snapshot=snapshot))

    def product(self, product_id: str) -> Product:
        """Return a product. Raises `UnknownProductError`."""
        return self._run(calls.product(product_id, self._make_product))

    def products(
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
    ) -> Products[Product]:
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
        return self._run(calls.products(given, self._make_product))

    def suggest(
        self,
        text: str,
        *,
        limit: int | None = None,
        filter: str | Sequence[str] | None = None,
        snapshot: str | None = None,
    ) -> tuple[Suggestion, ...]:
        """Return what a text may become whose last word is not finished, or misspelt, among products that satisfy."""
        return self._run(calls.suggest(text, limit=limit, filter=filter, snapshot=snapshot))

    def image(self, product_id: str, *, size: int | None = None, view: int | None = None) -> bytes:
        """Return a product's picture; with `size` (64, 128, 256, 512 or 1024) a small JPEG of it.

        `view` says which of several pictures, the first being 1.
        """
        return self._run(calls.image(product_id, size, view))

    def snapshot(self) -> Snapshot:
        """Return what is served, with its encoder and the attributes to filter by."""
        return self._run(calls.snapshot())

    def snapshots(self) -> tuple[HeldSnapshot, ...]:
        """Return the snapshots that can be asked by name."""
        return self._run(calls.snapshots())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.url!r})"

    def _run(self, call: Call[ResultT], timeout: float | None = None, retry: RetryPolicy | None = None) -> ResultT:
        deadline = time.monotonic() + (self._settings.timeout if timeout is None else timeout)
        policy, failed = retry or self._retry, 0
        while True:
            try:
                return call.read(self._http.send(call.request, deadline))
            except LookalikeError as error:
                failed += 1
                delay = policy.delay(failed, error, deadline - time.monotonic())
                if delay is None:
                    raise
                failure = error
            time.sleep(delay)
            if time.monotonic() >= deadline:  # the wait took longer than it should: the error says more than the time
                raise failure
