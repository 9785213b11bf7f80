"""Flights: what several ask for at the same time is done once, for as long as any of them still waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(eq=False, slots=True)
class _Flight(Generic[V]):
    task: asyncio.Task[V]
    passengers: int = 0


class Flights(Generic[K, V]):
    """Work in progress by its key. A flight that fails, fails for all in it; one that all have left is cancelled."""

    def __init__(self) -> None:
        self._flying: dict[K, _Flight[V]] = {}

    def __len__(self) -> int:
        return len(self._flying)

    def __contains__(self, key: K) -> bool:
        flight = self._flying.get(key)
        return flight is not None and not flight.task.done()

    async def join(self, key: K, start: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return what the flight under `key` brings; where there is none, `start` one."""
        if key not in self:
            self._flying[key] = _Flight(asyncio.create_task(start()))
        flight = self._flying[key]
        flight.passengers += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.passengers -= 1
            if not flight.passengers:
                self._land(key, flight)

    def _land(self, key: K, flight: _Flight[V]) -> None:
        flight.task.cancel()
        if self._flying.get(key) is flight:
            del self._flying[key]
