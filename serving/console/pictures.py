"""Pictures of a catalogue that serve shoppers badly: tiny, blurred, or not to be had. A sample is looked at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lookalike.data.errors import ImageRejectedError
from lookalike.data.snapshots.products import Product
from lookalike.serving.background import in_thread
from lookalike.serving.errors import ProblemError
from lookalike.tasks.images.decode import decode
from lookalike.tasks.images.sharpness import BLURRED, measure_sharpness

Fault = Literal["tiny", "blurred", "missing"]

TINY = 200
"""Pixels: a picture whose longer side has fewer is tiny; shops ask for 250 and more."""
SECONDS = 6.0
AT_A_TIME = 4

_ORDER: tuple[Fault, ...] = ("missing", "tiny", "blurred")

ReadPicture = Callable[[Product], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class PoorPicture:
    """A product's picture with what is wrong with it; size and sharpness where it could be read."""

    product: Product
    fault: Fault
    detail: str = ""
    width: int = 0
    height: int = 0
    sharpness: float = 0.0


@dataclass(frozen=True, slots=True)
class PoorPictures:
    """Those among `examined` pictures, the worst first."""

    examined: int
    pictures: Sequence[PoorPicture]


async def examine_pictures(products: Sequence[Product], read: ReadPicture) -> PoorPictures:
    """Look at the pictures of some products, a few at a time, until they are all seen or the time is up."""
    coming, end = iter(products), time.monotonic() + SECONDS
    seen: list[PoorPicture | None] = []

    async def look() -> None:
        for product in coming:
            left = end - time.monotonic()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    seen.append(await _examine(product, read))
            except TimeoutError:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(look())
    poor = sorted((one for one in seen if one is not None), key=_rank)
    return PoorPictures(len(seen), poor)


def _rank(one: PoorPicture) -> tuple[int, float]:
    return _ORDER.index(one.fault), one.width * one.height if one.fault == "tiny" else one.sharpness


async def _examine(product: Product, read: ReadPicture) -> PoorPicture | None:
    try:
        data = await read(product)
        return await in_thread(lambda: _judge(product, data), name="examine picture")
    except ImageRejectedError as error:
        return PoorPicture(product, "missing", error.reason)
    except ProblemError as problem:
        if problem.code == "overloaded":
            raise
        return PoorPicture(product, "missing", problem.code)


def _judge(product: Product, data: bytes) -> PoorPicture | None:
    image = decode(data)
    (width, height), sharpness = image.size, round(measure_sharpness(image), 3)
    if max(width, height) < TINY:
        return PoorPicture(product, "tiny", "", width, height, sharpness)
    if sharpness < BLURRED:
        return PoorPicture(product, "blurred", "", width, height, sharpness)
    return None
