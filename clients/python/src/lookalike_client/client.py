"""`Client`: asks a server and waits for the answer."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from lookalike_client import calls
from lookalike_client.arguments import QueryArguments, SearchOptions
from lookalike_client.calls import Call, Request
from lookalike_client.embeddings import Embeddings
from lookalike_client.errors import LookalikeError
from lookalike_client.http import Collected, as_error, http_options, http_request, load_tls, out_of_time
from lookalike_client.many import Outcome, ProgressCallback, Window, search_in_threads, to_query
from lookalike_client.query import Query
from lookalike_client.replies import Reply
from lookalike_client.results import HeldSnapshot, Hit, Product, Products, SearchResult, Snapshot
from lookalike_client.retries import RetryPolicy
from lookalike_client.settings import DEFAULT_TIMEOUT, Settings, read_environment

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
        self._settings = Settings(url, api_key, timeout)
        self._retry = retry or RetryPolicy()
        options = http_options(self._settings, load_tls(verify), trust_env=trust_env)
        self._http = httpx2.Client(**options, proxy=proxy, transport=transport)
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

        Give exactly one of `image`, `product`, `vector`, `url` and `positive`. Raises `LookalikeError`; OSError for a
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
        **options: Unpack[SearchOptions],
    ) -> Iterator[Outcome[Hit]]:
        """Search with each item, and yield one outcome for each: an answer or an error. No item is lost or doubled.

        Items are what `search` takes first, or `Query` objects; `options` are for those that are no `Query`. Outcomes
        come as they are ready, or in order. `items` is read no further than `window` (twice `concurrency`) beyond the
        outcomes that were taken. An item is tried again until its `timeout` has passed, so a server may restart.
        """
        run = Window[Hit](items, ordered=ordered, concurrency=concurrency, window=window, progress=progress)
        patient = RetryPolicy(None, self._retry.first_seconds, self._retry.most_seconds)

        def answer(item: Any) -> SearchResult[Hit]:
            return self._run(calls.search(to_query(item, options), self._make_hit), timeout, patient)

        return search_in_threads(run, answer)

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
        snapshot: str | None = None,
    ) -> Products[Product]:
        """Return some products that satisfy the filters."""
        given = {"limit": limit, "offset": offset, "filter": filter, "facets": facets, "snapshot": snapshot}
        return self._run(calls.products(given, self._make_product))

    def image(self, product_id: str, *, size: int | None = None) -> bytes:
        """Return a product's picture; with `size` (64, 128, 256, 512 or 1024) a small JPEG of it."""
        return self._run(calls.image(product_id, size))

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
                return call.read(self._send(call.request, deadline))
            except LookalikeError as error:
                failed += 1
                delay = policy.delay(failed, error, deadline - time.monotonic())
                if delay is None:
                    raise
            time.sleep(delay)

    def _send(self, request: Request, deadline: float) -> Reply:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise out_of_time(self._settings)
        collected = Collected()
        try:
            with self._http.stream(**http_request(request, self._settings, remaining)) as response:
                for chunk in response.iter_bytes():
                    collected.add(chunk)
                    if time.monotonic() > deadline:
                        raise out_of_time(self._settings)
                return collected.finish(response)
        except httpx2.RequestError as error:
            failure = as_error(error, self._settings)
        raise failure  # outside of the handler: the library's error holds the request, and that the key
