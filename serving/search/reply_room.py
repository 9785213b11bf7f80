"""The room for products in one reply: what does not fit is refused before it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

from lookalike.serving.budget import Share
from lookalike.serving.errors import ProblemError

MADE_TWICE = 2
"""Products are in memory twice: as they were read, and as they are written."""


@dataclass(slots=True)
class ReplyRoom:
    """The bytes of products that one reply may hold; `share` is what it holds of the budget of all replies."""

    limit: int
    share: Share | None
    held: int = 0
    is_full: bool = False
    lock: Lock = field(default_factory=Lock)  # queries of a batch are answered in threads

    def check(self) -> None:
        """Raise `ProblemError` where something did not fit: the other queries of a batch need not be tried."""
        if self.is_full:
            detail = (
                f"The reply would have more than {self.limit:,} bytes of products: ask for fewer hits with `k`, or "
                "name the `fields` that you need."
            )
            raise ProblemError("reply_too_large", detail)

    def take(self, size: int) -> None:
        """Let products of so many bytes in. Raises `ProblemError`."""
        with self.lock:
            self.held += size
            self.is_full = self.held > self.limit
        self.check()
        if self.share:
            self.share.add(MADE_TWICE * size)
