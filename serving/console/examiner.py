"""The examiner: looks at the served snapshot when an operator asks, one question at a time, and remembers answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cachetools import LRUCache

from lookalike.data.snapshots.products import Product
from lookalike.serving.background import in_thread
from lookalike.serving.console.examination import (
    DuplicateGroups,
    Strays,
    choose_rows,
    find_duplicates,
    find_strays,
)
from lookalike.serving.console.pictures import PoorPictures, ReadPicture, examine_pictures
from lookalike.serving.live.follower import Follower
from lookalike.serving.live.loaded import LoadedSnapshot
from lookalike.tasks.search.searcher import Searcher

REMEMBERED = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found in which snapshot."""

    snapshot: str
    created_at: datetime
    products: int
    duplicates: DuplicateGroups
    strays: Strays | None


class Examiner:
    """Bounded: one examination at a time, each of some seconds, and none twice of one snapshot."""

    def __init__(self, follower: Follower, read: ReadPicture) -> None:
        self._follower = follower
        self._read = read
        self._turn = asyncio.Lock()
        self._known: LRUCache[tuple[str, ...], object] = LRUCache(REMEMBERED)

    async def examine(self, attribute: str | None) -> Examined:
        """Look for duplicates, and for products that are strays by an attribute. Raises `ProblemError`."""

        async def work(loaded: LoadedSnapshot) -> Examined:
            return await in_thread(lambda: _examine(loaded, attribute), name="examine products")

        return await self._once("products", attribute or "", work)

    async def examine_pictures(self, most: int) -> tuple[str, PoorPictures]:
        """Look at so many pictures, chosen by chance; return the snapshot, too. Raises `ProblemError`."""

        async def work(loaded: LoadedSnapshot) -> tuple[str, PoorPictures]:
            products = await in_thread(lambda: _choose(loaded.searcher, most), name="choose products")
            return loaded.manifest.id, await examine_pictures(products, self._read)

        return await self._once("pictures", str(most), work)

    async def _once(self, what: str, how: str, work: Callable[[LoadedSnapshot], Awaitable[T]]) -> T:
        async with self._turn:
            with self._follower.lease() as loaded:
                key = (loaded.manifest.id, what, how)
                if key not in self._known:
                    self._known[key] = await work(loaded)
                return self._known[key]  # type: ignore[return-value]  # the key says of which kind it is


def _examine(loaded: LoadedSnapshot, attribute: str | None) -> Examined:
    manifest, searcher = loaded.manifest, loaded.searcher
    strays = None if attribute is None else find_strays(searcher, attribute)
    return Examined(manifest.id, manifest.created_at, manifest.products, find_duplicates(searcher), strays)


def _choose(searcher: Searcher, most: int) -> list[Product]:
    return searcher.products.take(choose_rows(searcher, most))
