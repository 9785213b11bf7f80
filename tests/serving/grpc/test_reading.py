"""Places for those who read: bounded, shared between callers, and given up by those who are slow."""

from __future__ import annotations

import asyncio
import time

import pytest

from lookalike.serving.errors import ProblemError
from lookalike.serving.grpc.reading import Reading


async def hold(reading: Reading, caller: str, until: asyncio.Event) -> None:
    async with reading.place(caller, time.monotonic() + 60):
        await until.wait()


def test_one_caller_has_half_of_the_places() -> None:
    refusals: list[int] = []

    async def run() -> None:
        reading, until = Reading(4, lambda: refusals.append(1)), asyncio.Event()
        holders = [asyncio.create_task(hold(reading, "a", until)) for _ in range(2)]
        await asyncio.sleep(0)
        assert reading.count == 2
        waiting = asyncio.create_task(hold(reading, "a", until))
        async with reading.place("b", time.monotonic() + 60):
            assert reading.count == 3
        until.set()
        await asyncio.gather(*holders, waiting)
        assert reading.count == 0

    asyncio.run(run())
    assert not refusals


def test_a_slow_one_gives_way_to_one_who_waits() -> None:
    async def run() -> None:
        reading, never = Reading(2, lambda: None), asyncio.Event()
        slow = [asyncio.create_task(hold(reading, name, never)) for name in ("a", "b")]
        await asyncio.sleep(0)
        async with reading.place("c", time.monotonic() + 60):
            pass
        ended = [task for task in slow if task.done()]
        assert len(ended) == 1
        with pytest.raises(ProblemError) as caught:
            await ended[0]
        assert caught.value.code == "request_timeout"
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    asyncio.run(run())
