"""Places for those who read: bounded, shared between callers, and given up by those who are slow."""

from __future__ import annotations

import asyncio

import pytest

from lookalike.serving.grpc.reading import Reading


async def hold(reading: Reading, caller: str, until: asyncio.Event) -> None:
    async with asyncio.timeout(60) as timeout:
        reader = await reading.enter(caller, timeout)
        try:
            await until.wait()
        finally:
            reading.leave(reader)


def test_one_caller_has_half_of_the_places() -> None:
    refusals: list[int] = []

    async def run() -> None:
        reading, until = Reading(4, lambda: refusals.append(1)), asyncio.Event()
        holders = [asyncio.create_task(hold(reading, "a", until)) for _ in range(2)]
        await asyncio.sleep(0)
        assert reading.count == 2
        waiting = asyncio.create_task(hold(reading, "a", until))
        async with asyncio.timeout(60) as timeout:
            reader = await reading.enter("b", timeout)
            assert reading.count == 3
            reading.leave(reader)
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
        async with asyncio.timeout(60) as timeout:
            reading.leave(await reading.enter("c", timeout))
        ended = [task for task in slow if task.done()]
        assert len(ended) == 1
        with pytest.raises(TimeoutError):
            await ended[0]
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    asyncio.run(run())
