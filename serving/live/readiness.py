"""Readiness: proven by a picture that went all the way through, not claimed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from lookalike.serving.live.follower import Follower
from lookalike.serving.telemetry.metrics import Metrics

PROOF_LASTS = 6  # probes: a few may be late on a busy machine

_log = logging.getLogger(__name__)


class Readiness:
    """Sends a picture through the service whenever no query has proved it for a while.

    `prove` sends one. `proved_at` says when one last went through, on the monotonic clock, None where none has yet.
    """

    def __init__(
        self,
        follower: Follower,
        metrics: Metrics,
        *,
        prove: Callable[[], Awaitable[None]],
        proved_at: Callable[[], float | None],
        seconds: float,
    ) -> None:
        self._follower = follower
        self._metrics = metrics
        self._send_picture = prove
        self._proved_at = proved_at
        self._seconds = seconds
        self._problem = "no picture has gone through yet"

    def age(self) -> float | None:
        """Return how many seconds ago a picture last went through."""
        proved_at = self._proved_at()
        return None if proved_at is None else round(time.monotonic() - proved_at, 3)

    def state(self) -> tuple[bool, str]:
        """Return whether queries are answered, and a sentence about it."""
        follower = self._follower
        age = self.age()
        if follower.current is None:
            return False, follower.why_not_ready()
        if age is None or age > PROOF_LASTS * self._seconds:
            return False, f"A snapshot is held, but no picture went through lately: {self._problem}."
        if follower.refusal is not None:
            return True, f"A newer snapshot cannot be served, the one before goes on: {follower.refusal.reason}."
        if follower.state.state != "ok":
            return True, f"The last good snapshot goes on serving: {follower.state.detail}."
        return True, "Queries are answered."

    async def run(self) -> None:
        """Prove for ever."""
        while True:
            age = self.age()
            if self._follower.current is not None and (age is None or age >= self._seconds):
                await self._prove()
            self._metrics.ready.set(self.state()[0])
            await asyncio.sleep(self._seconds if self.age() is not None else min(0.1, self._seconds))

    async def _prove(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._send_picture()
        except Exception as error:  # noqa: BLE001 - whatever it is, the probe failed
            self._problem = str(error) or type(error).__name__
            _log.warning("the probe failed: %s", self._problem)
