"""Trying again: growing pauses with jitter, for what may be repeated."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from lookalike.data.errors import StoreUnavailableError

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts, in seconds: each twice as long as the one before, up to the longest.

    Attributes:
        first: the pause after the first failure.
        longest: none is longer, but for the jitter.
        jitter: the part of a pause that chance adds or takes away, so that those who failed together come apart.
    """

    first: float
    longest: float = float("inf")
    jitter: float = 0.5

    def seconds(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row: at least one."""
        pause = min(self.first * 2.0 ** min(failures - 1, 64), self.longest)
        return pause * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - jitter


ATTEMPTS = 4
BACKOFF = Backoff(0.2)


def attempts() -> Iterator[int]:
    """Yield the number of each attempt, waiting longer before each but the first."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACKOFF.seconds(attempt))
        yield attempt


def retry_while_unavailable(call: Callable[[], Result]) -> Result:
    """Return what `call` does, trying again while the store does not answer. Raises what the last attempt raised."""
    for attempt in attempts():
        try:
            return call()
        except StoreUnavailableError as error:
            if attempt == ATTEMPTS - 1:
                raise
            _log.warning("%s; trying again", error)
    raise AssertionError("there is at least one attempt")
