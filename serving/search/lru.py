"""A cache that forgets what was used least lately, bounded by the weight of what it holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Not for several threads. `max_weight` is in whatever `put` is told; 0 keeps nothing."""

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Return what is kept under a key, None where nothing is."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Keep a value, and forget others until it fits; what is too heavy is not kept."""
        self._forget(key)
        if weight > self._max_weight:
            return
        self._kept[key] = (value, weight)
        self.weight += weight
        while self.weight > self._max_weight:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: K) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self.weight -= found[1]
