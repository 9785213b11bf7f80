"""The queries of a stream that are under way: each has a deadline, a share of the budgets and an end of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from lookalike.data.errors import LookalikeError
from lookalike.data.spans import root_span
from lookalike.serving.background import in_thread
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.context import RequestContext, answering
from lookalike.serving.errors import ProblemError, as_problem
from lookalike.serving.query.query import Query
from lookalike.serving.query.request import read_search
from lookalike.serving.runtime import Runtime
from lookalike.serving.stream.carrier import ClientGoneError, Encoded
from lookalike.serving.stream.messages import Ask, Hits, ItemId, Outgoing, Problem
from lookalike.serving.stream.streams import stopping_problem
from lookalike.serving.telemetry.requests import measure_request

METHOD = "query"
"""What metrics call the method of an item."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Item:
    """One query under way.

    Attributes:
        waits: whether its answer is sent after those of the queries before it.
        is_refused: whether it came too late, to a server that stops.
        is_begun: whether its task runs: one that is cancelled before would end without a word.
        is_open: whether it can still be cancelled: its answer is not found yet.
        before: what is sent before its answer.
    """

    ask: Ask
    request: RequestContext
    waits: bool = False
    is_refused: bool = False
    is_begun: bool = False
    is_open: bool = True
    is_cancelled: bool = False
    task: asyncio.Task[None] | None = None
    before: asyncio.Task[None] | None = None
    held: ExitStack = field(default_factory=ExitStack)

    @property
    def id(self) -> ItemId:
        """What the client calls it."""
        return self.ask.id


class Outlet(Protocol[T]):
    """What an item needs of its stream."""

    def encode(self, message: Outgoing) -> Encoded[T]: ...

    async def send(self, message: Encoded[T], item: Item | None = None) -> None: ...

    async def charge(self, request: RequestContext) -> None: ...

    def client_is_gone(self) -> None: ...


class Items(Generic[T]):
    """All queries of a stream that are under way: at most as many as its window."""

    def __init__(self, outlet: Outlet[T], runtime: Runtime, route: str) -> None:
        self._outlet = outlet
        self._runtime = runtime
        self._route = route
        self._window = asyncio.Semaphore(runtime.settings.stream.window)
        self._by_id: dict[ItemId, Item] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: asyncio.Task[None] | None = None
        self._none = asyncio.Event()
        self._none.set()

    def __contains__(self, item: ItemId) -> bool:
        return item in self._by_id

    @property
    def count(self) -> int:
        """How many are under way."""
        return len(self._tasks)

    async def take(self, item: Item) -> None:
        """Begin to answer as soon as there is room in the window."""
        with ExitStack() as held:
            share = held.enter_context(self._runtime.bodies.share(lambda: item.request.payer))
            try:
                share.add(item.ask.size)
            except ProblemError as problem:
                item.ask = Ask(item.id, {}, fault=problem)
            await self._window.acquire()
            held.callback(self._window.release)
            item.held = held.pop_all()
        item.request.started = time.monotonic()
        item.request.deadline = item.request.started + self._find_seconds(item.ask)
        item.before = self._last if item.waits else None
        item.task = self._last = asyncio.create_task(self._run(item))
        self._by_id[item.id] = item
        self._tasks.add(item.task)
        self._none.clear()
        item.task.add_done_callback(lambda task: self._end(item, task))

    def cancel(self, wanted: ItemId) -> None:
        """Let an item end with a problem; ignored where its answer is found already."""
        item = self._by_id.get(wanted)
        if item is None or not item.is_open or item.is_cancelled:
            return
        item.is_cancelled = True
        if item.is_begun and item.task is not None:
            item.task.cancel()

    def forget(self, item: Item) -> None:
        """Let its id be given again: the client is about to have the answer."""
        if self._by_id.get(item.id) is item:
            del self._by_id[item.id]

    async def wait_until_none(self) -> None:
        """Wait until none is under way."""
        await self._none.wait()

    async def abandon(self) -> None:
        """Drop all that are under way: nobody waits for them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, item: Item, task: asyncio.Task[None]) -> None:
        self.forget(item)
        self._tasks.discard(task)
        if self._last is task:
            self._last = None
        item.held.close()
        if not self._tasks:
            self._none.set()

    def _find_seconds(self, ask: Ask) -> float:
        most = self._runtime.settings.limits.request_seconds
        return most if ask.timeout is None else min(ask.timeout, most)

    async def _run(self, item: Item) -> None:
        with root_span(METHOD):
            await self._answer(item)

    async def _answer(self, item: Item) -> None:
        """Find the answer and send it. What goes wrong is the answer; only a client who left is none."""
        request, runtime = item.request, self._runtime
        status = 499
        try:
            with answering(request), runtime.replies.share(lambda: request.payer) as request.reply:
                message, found = await self._encode(await self._find(item))
                item.ask = Ask(item.id, {})  # its pictures may be megabytes, and its answer may have to wait
                if item.before is not None:
                    await asyncio.wait({item.before})
                    item.before = None
                await self._outlet.send(message, item)
                status = found
        except ClientGoneError:
            self._outlet.client_is_gone()
        finally:
            log = runtime.settings.access_log
            measure_request(runtime.metrics, request, method=METHOD, route=self._route, status=status, log=log)

    async def _find(self, item: Item) -> Hits | Problem:
        item.is_begun = True
        try:
            async with asyncio.timeout_at(item.request.deadline):
                return await self._search(item)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not item.is_cancelled or task is None or task.uncancel():
                raise
            problem = _cancelled_problem()
        except TimeoutError:
            detail = "The query's time ran out before it was answered: give it more, or send fewer at a time."
            problem = ProblemError("deadline_exceeded", detail, retry_after=1)
        except LookalikeError as error:
            problem = as_problem(error)
            if problem.code == "internal":
                _log.error("query %s of a stream failed: %s", item.request.id, error, exc_info=error)
        except Exception:  # noqa: BLE001 - one failure must not cost others their answers
            _log.exception("query %s of a stream failed", item.request.id)
            problem = ProblemError("internal", "The server failed to answer: try again, and tell its operator.")
        finally:
            item.is_open = False
        return Problem(item.id, problem, item.request.id)

    async def _search(self, item: Item) -> Hits:
        ask, request, runtime = item.ask, item.request, self._runtime
        if item.is_cancelled:
            raise _cancelled_problem()
        if item.is_refused:
            raise stopping_problem()
        await self._outlet.charge(request)
        if ask.fault is not None:
            raise ask.fault
        query = await self._read(ask)
        answer = await runtime.service.search_in_turn(query, deadline=request.deadline)
        return Hits(item.id, query, answer, request)

    async def _read(self, ask: Ask) -> Query:
        limits = self._runtime.settings.limits
        if not ask.is_slow_to_read:
            return read_search(ask.fields, limits)
        return await in_thread(lambda: read_search(ask.fields, limits), name="read query")

    async def _encode(self, answer: Hits | Problem) -> tuple[Encoded[T], int]:
        """Return the answer as it is sent, as far as the budget for replies has room for it, and its status in HTTP."""
        if isinstance(answer, Problem):
            return self._outlet.encode(answer), ERROR_CODES[answer.problem.code].status
        hits = len(answer.answer.hits)
        message = await self._runtime.service.write(lambda: self._outlet.encode(answer), hits=hits)
        share = answer.asked.reply
        try:
            if share is not None:
                share.raise_to(message.size)
        except ProblemError as problem:
            return await self._encode(Problem(answer.id, problem, answer.asked.id))
        return message, 200


def _cancelled_problem() -> ProblemError:
    return ProblemError("cancelled", "You cancelled this query.")
