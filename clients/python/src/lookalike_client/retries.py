"""Retries: how often a request is sent again, and how long to wait before."""

from __future__ import annotations

import random
from dataclasses import dataclass

from lookalike_client.errors import LookalikeError, ProblemError, is_transient


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to try again after the first try, None for as long as the call's time allows.

    Waits double from `first_seconds` up to `most_seconds`, and a random part of each is left out: else all clients of a
    server that restarts would come back at the same moment. `Retry-After` is kept to.
    """

    retries: int | None = 5
    first_seconds: float = 0.1
    most_seconds: float = 5.0

    def delay(
        self, failed: int, error: LookalikeError, remaining: float, *, chance: float | None = None
    ) -> float | None:
        """Return the seconds to wait after `failed` failed tries, or None if `error` is the end.

        It is the end too if there would be no time left after the wait. `chance` is a number from 0 to 1.
        """
        if not is_transient(error) or (self.retries is not None and failed > self.retries):
            return None
        part = random.random() if chance is None else chance  # noqa: S311 - no secret depends on it
        backoff = min(self.most_seconds, self.first_seconds * 2.0 ** min(failed - 1, 30))
        asked = error.retry_after if isinstance(error, ProblemError) else None
        seconds = backoff * (0.5 + part / 2) if asked is None else asked + part * min(backoff, 1.0)
        return seconds if seconds < remaining else None
