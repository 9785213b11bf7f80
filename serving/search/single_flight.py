"""Single flight: what several ask for at the same time is done once, for as long as any of them still waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


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
