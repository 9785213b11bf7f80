"""Budgets: the bytes that requests hold in memory, bounded for a worker process and for each caller.

One budget is for bodies, another for replies. Who takes bytes must leave as many free as they then hold. So large
requests fill a budget only in part, and small ones find room beside them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

from lookalike.serving.errors import ProblemError, deadline_problem

SHARE_OF_CALLER = 2
"""One caller may hold one part in so many."""


class Budget:
    """Bytes that are held; safe to use from many threads. `on_refusal` is called where there is no room."""

    def __init__(self, what: str, limit: int, on_refusal: Callable[[], object]) -> None:
        self._what = what
        self._limit = limit
        self._on_refusal = on_refusal
        self._held = 0
        self._callers: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """How many bytes are held."""
        return self._held

    def share(self, find_caller: Callable[[], str]) -> Share:
        """Give one request a share, which it holds until the context ends. The caller is looked up when it grows."""
        return Share(self, find_caller)

    def close(self, share: Share) -> None:
        """Let a share hold nothing, for good."""
        with self._lock:
            share.is_closed = True
            if share.size:
                self._move(share, 0)

    def grow(self, share: Share, more: int) -> None:
        """Let a share have so many bytes more. Raises `ProblemError` where there is no room for them."""
        with self._lock:
            if share.is_closed:  # a thread that nobody waits for any more: nobody would give these bytes back
                raise deadline_problem()
            size = share.size + more
            has_room = _has_room(self._limit, self._held - share.size, size) and _has_room(
                self._limit // SHARE_OF_CALLER, self._callers.get(share.caller, 0) - share.size, size
            )
            if has_room:
                self._move(share, size)
        if not has_room:
            self._on_refusal()
            detail = f"The server holds as many bytes of {self._what} as it may: try again in 1 s."
            raise ProblemError("overloaded", detail, retry_after=1)

    def count(self, share: Share, size: int) -> None:
        """Let a share hold at least so many bytes, whether or not there is room: they are in memory anyway."""
        with self._lock:
            if size > share.size and not share.is_closed:
                self._move(share, size)

    def let_go(self, share: Share) -> None:
        """Let a share hold nothing, for now."""
        with self._lock:
            if share.size:
                self._move(share, 0)

    def _move(self, share: Share, size: int) -> None:
        more = size - share.size
        share.size = size
        self._held += more
        left = self._callers.get(share.caller, 0) + more
        if left:
            self._callers[share.caller] = left
        else:
            self._callers.pop(share.caller, None)


class Share:
    """What one request holds of a budget, in bytes. As a context manager it holds nothing afterwards."""

    def __init__(self, budget: Budget, find_caller: Callable[[], str]) -> None:
        self.size = 0
        self.is_closed = False
        self._budget = budget
        self._find_caller = find_caller
        self._caller: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def caller(self) -> str:
        """Who holds it: the same from the first byte to the last."""
        if self._caller is None:
            self._caller = self._find_caller()
        return self._caller

    def raise_to(self, size: int) -> None:
        """Hold so many bytes, or more where there are more already. Raises `ProblemError`."""
        if size > self.size:
            self._budget.grow(self, size - self.size)

    def add(self, size: int) -> None:
        """Hold so many bytes more. Raises `ProblemError`."""
        self._budget.grow(self, size)

    def hold(self, size: int) -> None:
        """Hold at least so many bytes, whether or not there is room."""
        self._budget.count(self, size)

    def close(self) -> None:
        """Hold nothing, for good."""
        self._budget.close(self)

    def let_go(self) -> None:
        """Hold nothing, for now."""
        self._budget.let_go(self)


def _has_room(limit: int, others: int, size: int) -> bool:
    """Whoever is alone always has room: what one request may hold is limited elsewhere."""
    return not others or others + 2 * size <= limit
