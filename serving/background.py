"""Supervision: a background task that ends by a bug is started again, and says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 10.0

_log = logging.getLogger(__name__)


async def supervise(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run `run` for ever; after an error, again, with growing pauses."""
    wait = FIRST_WAIT_SECONDS
    while True:
        try:
            await run()
        except Exception:  # noqa: BLE001 - that is the point
            _log.exception("%s failed; starting it again in %.1f s", name, wait)
        else:
            _log.error("%s ended; starting it again in %.1f s", name, wait)
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)
