"""Searches over a stream, item by item: each is tried again until its time is up, and over HTTP where it must be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lookalike_client.errors import LookalikeError, NoStreamError
from lookalike_client.examples import Picture
from lookalike_client.many import Outcome, Window, search_in_futures, search_in_tasks, to_query
from lookalike_client.query import Query, ReadQuery
from lookalike_client.replies import MakeHit, read_hits
from lookalike_client.results import ProductFields, SearchResult
from lookalike_client.retries import RetryPolicy
from lookalike_client.settings import Settings, Way
from lookalike_client.streaming.loops import LoopThread

if TYPE_CHECKING:
    from lookalike_client.streaming.stream import Stream

ItemT = TypeVar("ItemT", bound=ProductFields)
AskHttp = Callable[[ReadQuery, float], Awaitable[SearchResult[ItemT]]]
"""Asks over HTTP, in so many seconds with all tries."""
MakeSearch = Callable[["Stream"], "StreamedSearch[ItemT]"]

_WEBSOCKETS = 16
"""The first version that is known to do what is needed."""


def find_websockets() -> bool:
    """Return whether the extra `stream` is installed."""
    from importlib import metadata  # noqa: PLC0415 - it takes milliseconds to load

    try:
        return int(metadata.version("websockets").partition(".")[0]) >= _WEBSOCKETS
    except (metadata.PackageNotFoundError, ValueError):
        return False


def choose_stream(wanted: bool | None, *, is_possible: bool) -> bool:
    """Return whether to use a stream. Raises RuntimeError for one that is wanted and not possible."""
    if wanted is False:
        return False
    if is_possible and find_websockets():
        return True
    if wanted:
        raise RuntimeError(
            "a stream needs the extra `stream`, as in `pip install 'lookalike-client[stream]'`, and no transport of "
            "your own: install it, or leave out stream=True"
        )
    return False


class StreamedSearch(Generic[ItemT]):
    """Answers items by a stream. `options` are for items that are no `Query`, `seconds` are for each with all tries."""

    def __init__(
        self,
        stream: Stream,
        ask_http: AskHttp[ItemT],
        make: MakeHit[ItemT],
        *,
        options: Mapping[str, Any],
        seconds: float,
        policy: RetryPolicy,
    ) -> None:
        self._stream = stream
        self._ask_http = ask_http
        self._make = make
        self._options = options
        self._seconds = seconds
        self._policy = policy

    async def answer(self, item: Any) -> SearchResult[ItemT]:
        """Return an item's answer. Raises `LookalikeError`; OSError, TypeError and ValueError for what is no query."""
        deadline = time.monotonic() + self._seconds
        query = to_query(item, self._options)
        read = await asyncio.to_thread(ReadQuery, query) if _reads_files(query) else ReadQuery(query)
        failed = 0
        while True:
            try:
                found = await self._stream.ask(read, deadline)
                return read_hits(found, found.get("request_id"), self._make)
            except NoStreamError:
                return await self._ask_http(read, deadline - time.monotonic())
            except LookalikeError as error:
                failed += 1
                delay = self._policy.delay(failed, error, deadline - time.monotonic())
                if delay is None:
                    raise
                failure = error
            await asyncio.sleep(delay)
            if time.monotonic() >= deadline:  # the wait took longer than it should: the error says more than the time
                raise failure


def _reads_files(query: Query) -> bool:
    """Whether a disk may have to be waited for."""
    lists = [*query.arguments.get("positive", ()), *query.arguments.get("negative", ())]
    return any(not isinstance(one, bytes | Picture) for one in [*lists, query.image] if one is not None)


@asynccontextmanager
async def open_stream(settings: Settings, way: Way) -> AsyncIterator[Stream]:
    """Yield a stream for this event loop, which connects when it is asked first."""
    from lookalike_client.http import load_tls  # noqa: PLC0415 - it loads httpx2
    from lookalike_client.streaming.stream import Stream  # noqa: PLC0415 - it loads websockets

    tls = load_tls(way) if settings.url.startswith("https:") else None
    stream = Stream(settings, tls=tls, proxy=way.proxy or (way.trust_env and not settings.is_local))
    try:
        yield stream
    finally:
        await stream.close()


async def search_streamed(
    window: Window[ItemT], settings: Settings, way: Way, make_search: MakeSearch[ItemT]
) -> AsyncGenerator[Outcome[ItemT], None]:
    """Yield an outcome for each item."""
    async with open_stream(settings, way) as stream:
        outcomes = search_in_tasks(window, make_search(stream).answer)
        try:
            async for outcome in outcomes:
                yield outcome
        finally:
            await outcomes.aclose()


def search_in_loop(
    window: Window[ItemT], settings: Settings, way: Way, make_search: MakeSearch[ItemT]
) -> Generator[Outcome[ItemT], None, None]:
    """Yield an outcome for each item, for programs without an event loop. The consumer's thread reads the items."""
    with LoopThread("lookalike-search", threads=window.concurrency) as thread:
        running = _Running(window, open_stream(settings, way), make_search)
        thread.start(running.enter()).result()
        try:
            yield from search_in_futures(window, lambda item: thread.start(running.answer(item)))
        finally:
            thread.start(running.leave()).result()


class _Running(Generic[ItemT]):
    """A search in another thread: the tasks of its items end before its stream does."""

    def __init__(
        self, window: Window[ItemT], stream: AbstractAsyncContextManager[Stream], make_search: MakeSearch[ItemT]
    ) -> None:
        self._gate = asyncio.Semaphore(window.concurrency)
        self._stream = stream
        self._make_search = make_search
        self._tasks: set[asyncio.Task[Any]] = set()

    async def enter(self) -> None:
        self._search = self._make_search(await self._stream.__aenter__())

    async def answer(self, item: Any) -> SearchResult[ItemT]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        async with self._gate:
            return await self._search.answer(item)

    async def leave(self) -> None:
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._stream.__aexit__(None, None, None)
