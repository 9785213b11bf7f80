"""`search_many`: no item lost or doubled, bounded memory, order by choice, an outcome for each item."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lookalike_client import AsyncClient, BadPictureError, Client, Progress, Query, SearchResult
from lookalike_client.many import Outcome, Window, search_in_tasks, search_in_threads
from lookalike_client.results import Hit
from tests.support.processes import Server
from tests.support.shop import Shop, product_ids

EMPTY: SearchResult[Hit] = SearchResult(hits=(), snapshot="s", took_ms=1.0)


class Counted:
    """Items that note how many of them were read."""

    def __init__(self, count: int, *, fails_at: int | None = None) -> None:
        self.read = 0
        self._count = count
        self._fails_at = fails_at

    def __iter__(self) -> Iterator[int]:
        for number in range(self._count):
            if number == self._fails_at:
                raise RuntimeError("the disk is gone")
            self.read += 1
            yield number


def make_window(items: Any, *, ordered: bool = False, concurrency: int = 4, **options: Any) -> Window[Hit]:
    given = {"window": None, "progress": None, **options}
    return Window(items, ordered=ordered, concurrency=concurrency, **given)


def answer_late(item: int) -> SearchResult[Hit]:
    time.sleep(random.random() / 200)
    if item % 10 == 3:
        raise ValueError(f"{item} is wrong")
    return EMPTY


async def answer_late_in_a_task(item: int) -> SearchResult[Hit]:
    await asyncio.sleep(random.random() / 200)
    if item % 10 == 3:
        raise ValueError(f"{item} is wrong")
    return EMPTY


def run_tasks(window: Window[Hit]) -> list[Outcome[Hit]]:
    async def collect() -> list[Outcome[Hit]]:
        return [outcome async for outcome in search_in_tasks(window, answer_late_in_a_task)]

    return asyncio.run(collect())


def run_threads(window: Window[Hit]) -> list[Outcome[Hit]]:
    return list(search_in_threads(window, answer_late))


@pytest.mark.parametrize("run", [run_threads, run_tasks])
@pytest.mark.parametrize("ordered", [True, False])
def test_each_item_has_one_outcome(run: Any, ordered: bool) -> None:
    outcomes = run(make_window(Counted(100), ordered=ordered))
    places = [outcome.place for outcome in outcomes]
    assert sorted(places) == list(range(100))
    assert (places == list(range(100))) is ordered
    assert all(outcome.item == outcome.place for outcome in outcomes)
    assert [outcome.item for outcome in outcomes if outcome.error is not None and outcome.item % 10 != 3] == []
    assert sum(outcome.error is not None for outcome in outcomes) == 10


@pytest.mark.parametrize("run", [run_threads, run_tasks])
def test_an_error_of_the_iterable_loses_nothing(run: Any) -> None:
    taken: list[Progress] = []
    with pytest.raises(RuntimeError, match="the disk is gone"):
        run(make_window(Counted(100, fails_at=42), progress=taken.append))
    assert taken[-1] == Progress(42, 4, None)


def test_the_consumer_sets_the_pace() -> None:
    items = Counted(1000)
    outcomes = search_in_threads(make_window(items, window=6), answer_late)
    assert items.read == 0
    for taken in range(1, 50):
        next(outcomes)
        time.sleep(0.002)
        assert items.read <= taken + 6
    outcomes.close()
    assert items.read <= 49 + 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lookalike-search")]


def test_tasks_end_with_the_consumer() -> None:
    async def take_some() -> int:
        items = Counted(1000)
        outcomes = search_in_tasks(make_window(items, window=6), answer_late_in_a_task)
        for taken in range(1, 20):
            await anext(outcomes)
            assert items.read <= taken + 6
        await outcomes.aclose()
        return len(asyncio.all_tasks())

    assert asyncio.run(take_some()) == 1


def test_in_order_a_slow_item_stops_the_reading() -> None:
    go, items = threading.Event(), Counted(1000)

    def answer(item: int) -> SearchResult[Hit]:
        if item == 0:
            go.wait(20)
        return EMPTY

    outcomes = search_in_threads(make_window(items, ordered=True, concurrency=2, window=5), answer)
    threading.Timer(0.2, go.set).start()
    assert next(outcomes).place == 0
    assert items.read == 5
    outcomes.close()


def test_what_is_no_error_of_an_item_ends_all() -> None:
    def answer(item: int) -> SearchResult[Hit]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(search_in_threads(make_window(range(9)), answer))


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"window": 0}])
def test_what_nothing_fits_through_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        make_window([], **options)


def all_items(shop: Shop, missing: Path) -> list[Any]:
    pictures = sorted((shop.folder / "pictures-1").iterdir())
    return [*pictures, b"no picture", missing, Query(product=product_ids(1)[0], k=3), 7]


@pytest.mark.services
def test_a_server_answers_each_item(client: Client, shop: Shop, tmp_path: Path) -> None:
    taken: list[Progress] = []
    items = all_items(shop, tmp_path / "none.png")
    outcomes = list(client.search_many(items, ordered=True, progress=taken.append, k=1))
    assert [outcome.unwrap()[0].id for outcome in outcomes[:24]] == product_ids(24)
    kinds = [type(outcome.error) for outcome in outcomes[24:]]
    assert kinds == [BadPictureError, FileNotFoundError, type(None), TypeError]
    assert len(outcomes[26].unwrap()) == 3
    assert taken[-1] == Progress(28, 3, 28)
    with pytest.raises(BadPictureError):
        outcomes[24].unwrap()


@pytest.mark.services
def test_a_server_answers_each_item_of_a_loop(running: Server, api_key: str, shop: Shop, tmp_path: Path) -> None:
    async def items() -> AsyncIterator[Any]:
        for item in all_items(shop, tmp_path / "none.png"):
            yield item

    async def collect() -> list[Outcome[Any]]:
        async with AsyncClient(running.url, api_key=api_key) as client:
            return [outcome async for outcome in client.search_many(items(), k=1)]

    outcomes = sorted(asyncio.run(collect()), key=lambda outcome: outcome.place)
    assert [outcome.unwrap()[0].id for outcome in outcomes[:24]] == product_ids(24)
    assert [outcome.error is None for outcome in outcomes[24:]] == [False, False, True, False]
