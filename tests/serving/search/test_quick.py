"""Quick searches are done at once, where they were quick before; all others leave the loop to other requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from lookalike.serving.query.options import QueryOptions
from lookalike.serving.query.query import EncoderVector, ProductId, Query, Text
from lookalike.serving.search.quick import AT_ONCE_SECONDS, MEASURED, Times, find_times
from lookalike.serving.search.service import SearchService
from lookalike.serving.telemetry.metrics import Metrics, Stopwatch
from tests.support.client import Client

PRODUCT = ProductId("a")


class NotingMetrics(Metrics):
    """Notes which thread each search ran in."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def stage(self, name: str) -> Stopwatch:
        if name == "search":
            self.threads.append(threading.current_thread().name)
        return super().stage(name)


@pytest.fixture
def metrics() -> NotingMetrics:
    return NotingMetrics()


@pytest.fixture
def service(client: Client, metrics: NotingMetrics) -> Iterator[SearchService]:
    service = SearchService(client.runtime.settings, client.runtime.follower, metrics)
    yield service
    service.close()


def search(client: Client, service: SearchService, query: Query) -> list[str]:
    answer = client.run(service.search(query, deadline=time.monotonic() + 60))
    return [hit.product.id for hit in answer.hits]


def is_in_pool(name: str) -> bool:
    return name.startswith("search")


def test_is_done_at_once_after_some_were_quick(client: Client, service: SearchService, metrics: NotingMetrics) -> None:
    query = Query((PRODUCT,))
    times = find_times(client.loaded.searcher, query)
    assert times is not None
    times.count, times.mean = 0, 0.0
    found = [search(client, service, query) for _ in range(MEASURED)]
    assert all(map(is_in_pool, metrics.threads))
    times.mean = AT_ONCE_SECONDS / 2  # as on a quiet machine
    found.append(search(client, service, query))
    assert not is_in_pool(metrics.threads[-1])
    assert all(one == found[0] for one in found)
    times.mean = 100.0
    search(client, service, query)
    assert is_in_pool(metrics.threads[-1])


def test_queries_of_a_batch_are_not(client: Client, service: SearchService, metrics: NotingMetrics) -> None:
    query = Query((PRODUCT,))
    times = find_times(client.loaded.searcher, query)
    assert times is not None
    times.count, times.mean = MEASURED, 0.0
    client.run(service.search_all([query] * 3, None, deadline=time.monotonic() + 60))
    assert len(metrics.threads) == 3
    assert all(map(is_in_pool, metrics.threads))


@pytest.mark.parametrize(
    "query",
    [
        Query((PRODUCT,), QueryOptions(k=100)),
        Query((PRODUCT,), QueryOptions(offset=1000)),
        Query((PRODUCT,), QueryOptions(facets=["category"])),
        Query((PRODUCT,), QueryOptions(sort="price:asc")),
        Query((PRODUCT,), QueryOptions(group_by="category")),
        Query((PRODUCT,), QueryOptions(collapse="exact")),
        Query((PRODUCT,), QueryOptions(filter=["price<=50"] * 5)),
        Query((Text("red"),)),
        Query((PRODUCT, Text("red"))),
    ],
)
def test_what_looks_at_many_rows_is_not(client: Client, query: Query) -> None:
    assert find_times(client.loaded.searcher, query) is None


def test_filters_are_measured_for_themselves(client: Client) -> None:
    searcher = client.loaded.searcher
    vector = EncoderVector(np.ones(192, np.float32))
    filtered = find_times(searcher, Query((vector,), QueryOptions(filter=["price<=50"])))
    assert find_times(searcher, Query((vector,))) is find_times(searcher, Query((PRODUCT,)))
    assert filtered is not None
    assert filtered is not find_times(searcher, Query((vector,)))


def test_the_mean_follows_what_searches_take() -> None:
    times = Times()
    for _ in range(MEASURED):
        assert not times.are_short
        assert times.measure(lambda: 7) == 7
    assert times.are_short
    times.measure(_work)
    assert not times.are_short
    for _ in range(200):
        times.measure(lambda: None)
    assert times.are_short


def _work() -> None:
    end = time.thread_time() + 2 * MEASURED * AT_ONCE_SECONDS
    while time.thread_time() < end:
        pass
