"""The streams of a worker: how many there may be, in all and for each caller, and how they end before a stop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lookalike.serving.context import Gateway
from lookalike.serving.errors import ProblemError
from lookalike.serving.runtime import Runtime

RETRY_SECONDS = 5
"""When it is worth trying again to open a stream."""


class Streams:
    """Gives each stream a place. One object for all carriers, so that their streams are counted together."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.stopping = asyncio.Event()
        self._callers: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many streams are open."""
        return self._callers.total()

    @property
    def finish_within(self) -> float:
        """How many seconds items have when the server stops: a little is kept for saying so."""
        return 0.8 * self.runtime.settings.shutdown_seconds

    def stop(self) -> None:
        """Let every stream finish what it took, refuse what comes, and end. Several carriers may call it."""
        self.stopping.set()

    @asynccontextmanager
    async def stop_with(self, stopping: asyncio.Event) -> AsyncIterator[None]:
        """Stop when the server of one connection says that it stops."""

        async def watch() -> None:
            await stopping.wait()
            self.stop()

        task = asyncio.create_task(watch())
        try:
            yield
        finally:
            task.cancel()

    def take_place(self, caller: str, gateway: Gateway) -> Place:
        """Return a place, to be closed. Raises `ProblemError` where there are too many streams, or the server stops."""
        place = Place(self, gateway)
        place.give_to(caller)
        return place

    def check(self, caller: str) -> None:
        """Raise `ProblemError` where a caller may have no further stream."""
        settings = self.runtime.settings.stream
        if self.stopping.is_set():
            raise stopping_problem()
        for most, there, whose in (
            (settings.streams, self.count, "this server"),
            (settings.per_caller, self._callers[caller], "you"),
        ):
            if there >= most:
                self.runtime.metrics.shed.inc()
                detail = f"There are {most} streams of {whose} already: end one, or try again in {RETRY_SECONDS} s."
                raise ProblemError("too_many_streams", detail, retry_after=RETRY_SECONDS)

    def count_caller(self, caller: str, step: int) -> None:
        """Note that a caller has one stream more, or one fewer."""
        self._callers[caller] += step
        if not self._callers[caller]:
            del self._callers[caller]


class Place:
    """The place of one stream. Before a key was shown it is that of an address."""

    def __init__(self, streams: Streams, gateway: Gateway) -> None:
        self._streams = streams
        self._open = streams.runtime.metrics.streams.labels(gateway)
        self._caller: str | None = None

    def give_to(self, caller: str) -> None:
        """Count the stream for this caller from now on. Raises `ProblemError`."""
        if caller == self._caller:
            return
        before = self._caller
        self.close()  # so that the stream does not count twice while it is checked
        try:
            self._streams.check(caller)
        except ProblemError:
            if before is not None:
                self._count(before)
            raise
        self._count(caller)

    def close(self) -> None:
        """Give the place back."""
        if self._caller is not None:
            self._streams.count_caller(self._caller, -1)
            self._open.dec()
            self._caller = None

    def _count(self, caller: str) -> None:
        self._streams.count_caller(caller, 1)
        self._open.inc()
        self._caller = caller


def stopping_problem() -> ProblemError:
    """Return the problem of what is asked over a stream that ends."""
    detail = "This stream ends, as its server stops or its time is up: open another one, and ask again there."
    return ProblemError("stopping", detail, retry_after=1)
