"""Batches line by line: each answer as it is ready, and no more of them than the client takes."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers

from lookalike.serving.query.request import read_search
from lookalike.serving.rest.app import create_app
from lookalike.serving.rest.responses import wants_lines
from lookalike.serving.runtime import Runtime
from lookalike.serving.search.service import BATCHED
from tests.serving.conftest import Serve, make_settings
from tests.support.client import Client, wait_for
from tests.support.listening import listen
from tests.support.shop import Shop, picture

LINES = {"Accept": "application/x-ndjson"}
IMAGE = base64.b64encode(picture(1)).decode()
QUERIES: list[Any] = [
    {"product_id": "a", "k": 3, "facets": ["category"]},
    {"product_id": "none such"},
    {"image": IMAGE, "k": 2, "fields": ["score"]},
    7,
]


def read(reply: httpx.Response) -> list[dict[str, Any]]:
    assert reply.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.text.splitlines()]


def test_lines_have_the_answers_of_a_batch(client: Client) -> None:
    lines = read(client.post("/v1/search/batch", json={"queries": QUERIES}, headers=LINES))
    whole = client.post("/v1/search/batch", json={"queries": QUERIES}).json()
    found = {line.pop("place"): line for line in lines}
    assert sorted(found) == [0, 1, 2, 3]
    for place, result in enumerate(whole["results"]):
        line = found[place]
        assert line.pop("snapshot") == whole["snapshot"]
        assert line.pop("took_ms") > 0
        for one in (line, result):
            one.get("problem", {}).pop("request_id", None)
        assert line == result


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("application/x-ndjson", True),
        ("Application/X-NDJSON; q=0.5", True),
        ("text/html, application/x-ndjson", True),
        ("application/json;q=0.5, application/x-ndjson", True),
        ("application/x-ndjson;q=0.5, application/json", False),
        ("application/x-ndjson;q=0", False),
        ("application/x-ndjson;q=nan", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_who_wants_lines(accept: str, *, wanted: bool) -> None:
    assert wants_lines(Headers({"accept": accept})) == wanted


def test_what_refuses_the_whole_is_one_problem(shop: Shop, serve: Serve) -> None:
    shop.publish(8)
    client = serve(rates={"per_address": 1, "burst": 3})
    client.wait(lambda state: state["ready"])
    bodies: list[tuple[dict[str, Any], str]] = [
        ({"queries": [{"product_id": "a"}], "snapshot": "none such"}, "snapshot_not_held"),
        ({"queries": []}, "no_query"),
        ({"queries": [{"product_id": "a"}] * 5}, "rate_limited"),
    ]
    for body, code in bodies:
        reply = client.post("/v1/search/batch", json=body, headers=LINES)
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["code"] == code


@contextmanager
def sockets(folder: Path) -> Iterator[tuple[Runtime, str, threading.Event]]:
    """Serve a shop on a real socket, with an encoder that waits until the event is set."""

    runtime, go = Runtime(make_settings(folder, probe_seconds=3600)), threading.Event()
    with listen(create_app(runtime), lifespan="on") as port:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.get(f"{url}/readyz").status_code, lambda status: status == 200)
        loaded = runtime.follower.current
        assert loaded is not None
        infer = loaded.searcher.encoder.infer

        def wait(batch: Any) -> Any:
            go.wait(60)
            return infer(batch)

        loaded.searcher.encoder.infer = wait  # type: ignore[method-assign]
        try:
            yield runtime, url, go
        finally:
            go.set()


def test_each_answer_is_sent_when_it_is_ready_and_who_hangs_up_ends_the_rest(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    queries = [{"image": IMAGE, "k": 1}, {"product_id": "a", "k": 1}]
    with sockets(tmp_path) as (runtime, url, go):

        def ask() -> Any:
            return httpx.stream("POST", f"{url}/v1/search/batch", json={"queries": queries}, headers=LINES, timeout=60)

        with ask() as reply:
            lines = reply.iter_lines()  # kept: the connection is closed when nobody holds it
            assert json.loads(next(lines))["place"] == 1
            assert runtime.service._in_progress == 1
        wait_for(lambda: runtime.service._in_progress, lambda count: count == 0)
        assert not go.is_set()
        with ask() as reply:
            lines = reply.iter_lines()
            assert json.loads(next(lines))["place"] == 1
            go.set()
            assert [json.loads(line)["place"] for line in lines] == [0]
        wait_for(lambda: runtime.replies.held, lambda held: held == 0)


def test_no_more_is_answered_than_the_client_takes(client: Client) -> None:
    runtime, given = client.runtime, []
    query = read_search({"product_id": "a", "k": 5}, runtime.settings.limits)

    async def ask() -> None:
        go, taken = asyncio.Event(), asyncio.Semaphore(0)

        async def deliver(place: int, _: str, __: Any) -> None:
            given.append(place)
            taken.release()
            await go.wait()

        work = asyncio.create_task(
            runtime.service.search_each(
                [query] * 100, None, deliver, lambda: runtime.replies.share(lambda: "a"), deadline=float("inf")
            )
        )
        most = BATCHED * runtime.settings.share_of_processors
        for _ in range(most):
            await taken.acquire()
        await asyncio.sleep(0.1)
        assert len(given) == most
        held = runtime.replies.held
        go.set()
        await work
        assert (sorted(given), runtime.replies.held) == (list(range(100)), 0)
        assert held > 0

    client.run(ask())
