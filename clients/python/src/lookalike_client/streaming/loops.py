"""An event loop in a thread of its own, for programs that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeVar

ResultT = TypeVar("ResultT")


class LoopThread:
    """Runs coroutines until the context ends, which cancels those that still run.

    `threads` is how many functions `asyncio.to_thread` may run at a time there.
    """

    def __init__(self, name: str, *, threads: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(threads, thread_name_prefix=name))
        # a generator that is never closed must not keep the program from ending
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def start(self, work: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
        """Begin to run a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.start(_cancel_others()).result()
        self.start(self._loop.shutdown_default_executor()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
