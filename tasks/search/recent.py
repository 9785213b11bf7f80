"""What was made for the last requests: a shop asks for the same few filters again and again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by key, the last used ones, up to a number of bytes. Safe to use from many threads at once."""

    def __init__(self, most_bytes: int) -> None:
        self._kept: LRUCache[Hashable, tuple[V, int]] = LRUCache(most_bytes, getsizeof=lambda pair: pair[1])
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], V], size: int) -> V:
        """Return the value of a key; make it where it is not kept. `size` counts its bytes and those of its key.

        Threads that ask for the same key at the same time may each make the value.
        """
        with self._lock:
            found = self._kept.get(key)
        if found is not None:
            return found[0]
        value = make()
        if size <= self._kept.maxsize:
            with self._lock:
                self._kept[key] = value, size
        return value
