"""Reading: how many calls may be taking in their message at a time, and how long one may block the others.

gRPC hands over a message when it is complete, and says nothing of its size before. So its bytes cannot be counted as
they come: what bounds the memory is how many are read at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from lookalike.serving.errors import ProblemError

SHARE_OF_CALLER = 2
"""One caller may have one place in so many."""
PATIENCE_SECONDS = 1.0
"""From then on, a caller who is still sending gives way to one who waits; and one who waits longer is sent away."""


@dataclass(eq=False, slots=True)
class Reader:
    """Whoever is reading. `timeout` is that of their call; `gave_way` says that it was ended for another's sake."""

    caller: str
    timeout: asyncio.Timeout
    since: float = field(default_factory=time.monotonic)
    gave_way: bool = False


class Reading:
    """Gives places to those who read. `on_refusal` is called where there is none in time."""

    def __init__(self, places: int, on_refusal: Callable[[], object]) -> None:
        self._places = places
        self._on_refusal = on_refusal
        self._readers: dict[Reader, None] = {}
        """In the order in which they began."""
        self._callers: Counter[str] = Counter()
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """How many are reading."""
        return len(self._readers)

    async def enter(self, caller: str, under: asyncio.Timeout) -> Reader:
        """Wait for a place; it must be left. Raises `ProblemError` where there is none.

        Where others wait for too long, what is done `under` this timeout ends.
        """
        if not self._has_room(caller):
            await self._wait(caller)
        reader = Reader(caller, under)
        self._readers[reader] = None
        self._callers[caller] += 1
        return reader

    def leave(self, reader: Reader) -> None:
        """Give a place back."""
        del self._readers[reader]
        self._callers[reader.caller] -= 1
        if not self._callers[reader.caller]:
            del self._callers[reader.caller]
        self._changed.set()

    def _has_room(self, caller: str) -> bool:
        return self.count < self._places and self._callers[caller] < max(1, self._places // SHARE_OF_CALLER)

    async def _wait(self, caller: str) -> None:
        end = time.monotonic() + 2 * PATIENCE_SECONDS
        while not self._has_room(caller):
            left = end - time.monotonic()
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
        slowest = next(iter(self._readers), None)
        if slowest is not None and slowest.since + PATIENCE_SECONDS < time.monotonic() and not slowest.gave_way:
            slowest.gave_way = True
            slowest.timeout.reschedule(asyncio.get_running_loop().time())
