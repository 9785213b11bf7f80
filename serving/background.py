"""Work beside requests: a background task that ends by a bug is started again, and says so.

Threads are for work that may hang: a store that does not answer must not keep a server from stopping. What several ask
for at the same time is done once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

from lookalike.data.stores.retry import Backoff

BACKOFF = Backoff(0.1, longest=10.0)

_log = logging.getLogger(__name__)

T = TypeVar("T")

NICE = 10  # of nineteen: about a tenth of a core where all are busy, so that what is held meanwhile is soon let go

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


async def supervise(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run `run` for ever; after an error, again, with growing pauses."""
    for failures in count(1):
        wait = BACKOFF.seconds(failures)
        try:
            await run()
        except Exception:  # noqa: BLE001 - that is the point
            _log.exception("%s failed; starting it again in %.1f s", name, wait)
        else:
            _log.error("%s ended; starting it again in %.1f s", name, wait)
        await asyncio.sleep(wait)


async def in_thread(function: Callable[[], T], *, name: str, yielding: bool = False) -> T:
    """Run `function` in a thread of its own. Cancelling abandons the thread; it never keeps the process alive.

    `yielding` lets other threads have the processor first.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            if yielding:
                _yield_to_others()
            result = function()
        except BaseException as error:  # noqa: BLE001 - of any kind: the caller must know
            _report(loop, _fail, future, error)
        else:
            _report(loop, _finish, future, result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await future


def _yield_to_others() -> None:
    if sys.platform == "linux":  # elsewhere a priority is that of a whole process
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _report(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: object) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(function, *args)


def _finish(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


@dataclass(eq=False, slots=True)
class _Call(Generic[V]):
    task: asyncio.Task[V]
    waiters: int = 0


class SingleFlight(Generic[K, V]):
    """Work in progress by its key. What fails, fails for all who wait; what nobody waits for is cancelled."""

    def __init__(self) -> None:
        self._calls: dict[K, _Call[V]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, key: K) -> bool:
        call = self._calls.get(key)
        return call is not None and not call.task.done()

    async def join(self, key: K, start: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return what the work under `key` brings; where there is none in progress, `start` it."""
        if key not in self:
            self._calls[key] = _Call(asyncio.create_task(start()))
        call = self._calls[key]
        call.waiters += 1
        try:
            return await asyncio.shield(call.task)
        finally:
            call.waiters -= 1
            if not call.waiters:
                self._end(key, call)

    def _end(self, key: K, call: _Call[V]) -> None:
        call.task.cancel()
        if self._calls.get(key) is call:
            del self._calls[key]
