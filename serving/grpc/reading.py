"""Reading: how many calls may be taking in their message at a time, and how long one may block the others.

gRPC hands over a message when it is complete, and says nothing of its size before. So its bytes cannot be counted as
they come: what bounds the memory is how many are read at a time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from lookalike.serving.errors import ProblemError

SHARE_OF_CALLER = 2
"""One caller may have one place in so many."""
PATIENCE_SECONDS = 1.0
"""From then on, a caller who is still sending gives way to one who waits; and one who waits longer is sent away."""


class Reading:
    """Gives places to those who read. `on_refusal` is called where there is none in time."""

    def __init__(self, places: int, on_refusal: Callable[[], object]) -> None:
        self._places = places
        self._on_refusal = on_refusal
        self._readers: dict[asyncio.Timeout, float] = {}
        self._callers: Counter[str] = Counter()
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """How many are reading."""
        return len(self._readers)

    @asynccontextmanager
    async def place(self, caller: str, deadline: float) -> AsyncIterator[None]:
        """Wait for a place and hold it. Raises `ProblemError` where there is none, or where it had to be given up."""
        if not self._has_room(caller):
            await self._wait(caller)
        self._callers[caller] += 1
        timeout = asyncio.timeout_at(deadline)
        self._readers[timeout] = asyncio.get_running_loop().time()
        try:
            async with timeout:
                yield
        except TimeoutError:
            if not timeout.expired():
                raise
            detail = "The message did not arrive in time: send a smaller picture, or try again."
            raise ProblemError("request_timeout", detail, retry_after=1) from None
        finally:
            del self._readers[timeout]
            self._callers -= Counter((caller,))
            self._changed.set()

    def _has_room(self, caller: str) -> bool:
        return self.count < self._places and self._callers[caller] < max(1, self._places // SHARE_OF_CALLER)

    async def _wait(self, caller: str) -> None:
        end = asyncio.get_running_loop().time() + 2 * PATIENCE_SECONDS
        while not self._has_room(caller):
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                self._on_refusal()
                detail = "The server is taking in as many messages as it may: try again in 1 s."
                raise ProblemError("overloaded", detail, retry_after=1)
            self._end_slowest()
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, PATIENCE_SECONDS / 4)):
                    await self._changed.wait()

    def _end_slowest(self) -> None:
        """Let whoever has been sending for longest give way, where that is long."""
        slowest, since = next(iter(self._readers.items()), (None, 0.0))  # in the order in which they began
        now = asyncio.get_running_loop().time()
        if slowest is not None and since + PATIENCE_SECONDS < now and not slowest.expired():
            slowest.reschedule(now)
