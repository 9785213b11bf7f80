"""Trying again: exponential back-off with jitter, for what may be repeated."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from lookalike.data.errors import StoreUnavailableError

ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.1

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


def attempts() -> Iterator[int]:
    """Yield the number of each attempt, waiting longer before each but the first."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        yield attempt


def retried(call: Callable[[], Result]) -> Result:
    """Return what `call` does, trying again while the store does not answer. Raises what the last attempt raised."""
    for attempt in attempts():
        try:
            return call()
        except StoreUnavailableError as error:
            if attempt == ATTEMPTS - 1:
                raise
            _log.warning("%s; trying again", error)
    raise AssertionError("there is at least one attempt")
