"""Many searches at a time: what is under way, what is finished, and when the next item may be read.

The consumer sets the pace. Items are read only while an outcome is waited for, and never more than a window of them
beyond the outcomes that were taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sized,
)
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from lookalike_client.errors import LookalikeError
from lookalike_client.query import Query
from lookalike_client.results import ProductFields, SearchResult

ItemT = TypeVar("ItemT", bound=ProductFields)
ItemError: TypeAlias = LookalikeError | OSError | TypeError | ValueError
"""What may be wrong with one item: the server refused it, its file cannot be read, or it is nothing to search with."""
_ITEM_ERRORS = (LookalikeError, OSError, TypeError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[ItemT]):
    """What came of one item: `answer` or `error`. `place` is the item's place among all, from 0."""

    place: int
    item: Any = field(repr=False)
    answer: SearchResult[ItemT] | None = None
    error: ItemError | None = None

    def unwrap(self) -> SearchResult[ItemT]:
        """Return the answer, or raise the error."""
        if self.error is not None:
            raise self.error
        if self.answer is None:
            raise ValueError("the outcome has neither an answer nor an error")
        return self.answer


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: `total` is None where the items cannot be counted."""

    done: int
    failed: int
    total: int | None


ProgressCallback: TypeAlias = Callable[[Progress], object]


class _Finished(Protocol):
    """A future of threads or a task: both can be asked the same."""

    def result(self) -> Any: ...

    def done(self) -> bool: ...


class Window(Generic[ItemT]):
    """The items between the iterable and the consumer. It knows nothing of threads and tasks.

    Raises ValueError for a concurrency or a window that nothing fits through.
    """

    def __init__(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool,
        concurrency: int,
        window: int | None,
        progress: ProgressCallback | None,
    ) -> None:
        self.items = items
        self.concurrency = concurrency
        self._size = 2 * concurrency if window is None else window
        if concurrency < 1 or self._size < 1:
            raise ValueError("concurrency and window must be 1 or more")
        self._ordered = ordered
        self._progress = progress
        self._total = len(items) if isinstance(items, Sized) else None
        self._under_way: deque[tuple[int, Any, _Finished]] = deque()
        self._is_open = True
        self._failure: Exception | None = None
        self._read = self._done = self._failed = 0

    @property
    def wants_more(self) -> bool:
        return self._is_open and len(self._under_way) < self._size

    @property
    def is_empty(self) -> bool:
        return not self._under_way

    @property
    def awaited(self) -> list[_Finished]:
        """What the next outcome depends on: any of these must end."""
        return [finished for _, _, finished in self._under_way][: 1 if self._ordered else None]

    def add(self, item: Any, finished: _Finished) -> None:
        """Note an item that was handed on."""
        self._under_way.append((self._read, item, finished))
        self._read += 1

    def end(self, failure: Exception | None = None) -> None:
        """Note that there are no more items, or that reading them failed."""
        self._is_open, self._failure = False, failure

    def raise_failure(self) -> None:
        """Raise what reading the items failed with, if it did."""
        if self._failure is not None:
            raise self._failure

    def take(self) -> Outcome[ItemT] | None:
        """Return an outcome that may be yielded, and make room for another item; None if there is none yet."""
        for entry in self._under_way:
            if entry[2].done():
                self._under_way.remove(entry)
                return self._conclude(*entry)
            if self._ordered:
                return None
        return None

    def _conclude(self, place: int, item: Any, finished: _Finished) -> Outcome[ItemT]:
        try:
            outcome: Outcome[ItemT] = Outcome(place=place, item=item, answer=finished.result())
        except _ITEM_ERRORS as error:
            outcome = Outcome(place=place, item=item, error=error)
            self._failed += 1
        self._done += 1
        if self._progress is not None:
            self._progress(Progress(self._done, self._failed, self._total))
        return outcome


def to_query(item: Any, options: Mapping[str, Any]) -> Query:
    """Return the query of an item; one that is a query already has its own options."""
    return item if isinstance(item, Query) else Query(item, **options)


def search_in_threads(
    window: Window[ItemT], answer: Callable[[Any], SearchResult[ItemT]]
) -> Generator[Outcome[ItemT], None, None]:
    """Yield an outcome for each item. An error of the iterable is raised after all that was read before it."""
    pool = ThreadPoolExecutor(window.concurrency, thread_name_prefix="lookalike-search")
    try:
        yield from search_in_futures(window, lambda item: pool.submit(answer, item))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def search_in_futures(
    window: Window[ItemT], start: Callable[[Any], Future[SearchResult[ItemT]]]
) -> Generator[Outcome[ItemT], None, None]:
    """Yield an outcome for each item that `start` begins to answer, somewhere else."""
    items: Iterator[Any] = iter(window.items) if isinstance(window.items, Iterable) else iter(())
    while True:
        while window.wants_more:
            _read_item(window, items, start)
        if window.is_empty:
            break
        outcome = window.take()
        if outcome is not None:
            yield outcome
        else:
            wait([one for one in window.awaited if isinstance(one, Future)], return_when=FIRST_COMPLETED)
    window.raise_failure()


def _read_item(window: Window[ItemT], items: Iterator[Any], start: Callable[[Any], _Finished]) -> None:
    try:
        item = next(items)
    except StopIteration:
        window.end()
    except Exception as error:  # noqa: BLE001 - it is raised at the end, when no outcome can be lost by it
        window.end(error)
    else:
        window.add(item, start(item))


async def search_in_tasks(
    window: Window[ItemT], answer: Callable[[Any], Awaitable[SearchResult[ItemT]]]
) -> AsyncGenerator[Outcome[ItemT], None]:
    """Yield an outcome for each item. An error of the iterable is raised after all that was read before it."""
    items = _iterate(window.items)
    gate = asyncio.Semaphore(window.concurrency)
    tasks: set[asyncio.Task[SearchResult[ItemT]]] = set()

    async def ask(item: Any) -> SearchResult[ItemT]:
        async with gate:
            return await answer(item)

    def start(item: Any) -> asyncio.Task[SearchResult[ItemT]]:
        task = asyncio.create_task(ask(item))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    try:
        while True:
            while window.wants_more:
                await _await_item(window, items, start)
            if window.is_empty:
                break
            outcome = window.take()
            if outcome is not None:
                yield outcome
            else:
                awaited = [one for one in window.awaited if isinstance(one, asyncio.Task)]
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = list(tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await items.aclose()
    window.raise_failure()


async def _await_item(
    window: Window[ItemT], items: AsyncGenerator[Any, None], start: Callable[[Any], _Finished]
) -> None:
    try:
        item = await anext(items)
    except StopAsyncIteration:
        window.end()
    except Exception as error:  # noqa: BLE001 - it is raised at the end, when no outcome can be lost by it
        window.end(error)
    else:
        window.add(item, start(item))


async def _iterate(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
