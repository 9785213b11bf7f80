"""Products' pictures from a slow place: how many are read at a time, and how many may wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from lookalike.serving.encode import pictures
from lookalike.serving.encode.pictures import READS
from lookalike.serving.replies import product_path
from lookalike.serving.search import thumbnails
from tests.serving.conftest import Serve
from tests.support.client import Client, wait_for
from tests.support.shop import Shop, picture, product_ids

IDS = product_ids(24)


class SlowPlace:
    """Where a shop's pictures lie: it hands out none before it may, and counts who asks.

    A read that an earlier test left behind may end here on a busy machine: what it asks for lies in another folder.
    """

    def __init__(self, folder: Path) -> None:
        self.may_answer = threading.Event()
        self.asked = 0
        self._folder = str(folder)
        self._lock = threading.Lock()

    def read(self, reference: str, **_: Any) -> bytes:
        with self._lock:
            self.asked += reference.startswith(self._folder)
        self.may_answer.wait(20)
        return picture(1)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowPlace]:
    found = SlowPlace(tmp_path)
    monkeypatch.setattr("lookalike.serving.encode.pictures.read_image", found.read)
    yield found
    found.may_answer.set()


@pytest.fixture
def client(shop: Shop, serve: Serve) -> Client:
    shop.publish(24)
    client = serve()
    client.wait(lambda state: state["ready"])
    return client


def ask(client: Client, path: str) -> Future[Any]:
    return asyncio.run_coroutine_threadsafe(client._http.get(path), client._loop)


def waiting(client: Client) -> int:
    """Return how many pictures wait for a place, to be sent whole or made smaller."""
    runtime = client.runtime
    return int(runtime.service._pictures._waiting) or len(runtime.thumbnails._in_flight) - READS


def test_a_read_whose_caller_left_keeps_its_place_until_it_ends(client: Client, place: SlowPlace) -> None:
    path = product_path("a", "image")
    first = [ask(client, path) for _ in range(READS)]
    wait_for(lambda: place.asked, lambda asked: asked == READS)
    for one in first:
        one.cancel()
    next_one = ask(client, path)
    assert client.get("/livez").status_code == 200  # after which it would have been read, had there been a place
    assert client.get(product_path("a")).status_code == 200
    assert place.asked == READS
    place.may_answer.set()
    assert next_one.result(10).content == picture(1)
    assert place.asked == READS + 1


@pytest.mark.parametrize("query", ["", "?size=64"])
def test_too_many_that_wait_are_told_to_come_back(
    client: Client, place: SlowPlace, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(pictures, "WAITING", 3)
    monkeypatch.setattr(thumbnails, "WAITING", READS + 3)
    asked = [ask(client, product_path(product, "image") + query) for product in IDS[: READS + 3]]
    wait_for(lambda: waiting(client), lambda found: found == 3)
    refused = client.get(product_path(IDS[-1], "image") + query)
    assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert b"lookalike_overloaded_total 1.0" in client.get("/metrics").content
    place.may_answer.set()
    assert {one.result(10).status_code for one in asked} == {200}
    assert client.get(product_path(IDS[-1], "image") + query).status_code == 200
