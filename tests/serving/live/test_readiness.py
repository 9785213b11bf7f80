from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lookalike.serving.live.loaded import BLANK
from tests.serving.conftest import Serve
from tests.support.shop import Shop, picture


def test_a_model_that_fails_is_not_ready(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alive and holding a snapshot is not enough: the path must work, and be seen to recover."""
    shop.publish(8)
    client = serve(probe_seconds=0.1)
    client.wait(lambda state: state["ready"])
    encoder = client.loaded.searcher.encoder

    def fail(batch: Any) -> Any:
        raise RuntimeError("out of memory")

    infer = encoder.infer
    monkeypatch.setattr(encoder, "infer", fail)
    state = client.wait(lambda state: not state["ready"])
    assert client.get("/readyz").status_code == 503
    assert "no picture went through" in state["detail"]
    response = client.post("/v1/search", files={"image": ("x.png", BLANK)})
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "memory" not in response.text

    monkeypatch.setattr(encoder, "infer", infer)
    client.wait(lambda state: state["ready"])


def test_an_index_that_fails_is_not_ready(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the encoder nor queries whose vectors are known prove that the rest works."""
    shop.publish(8)
    client = serve(probe_seconds=0.1)
    client.wait(lambda state: state["ready"])
    searcher = client.loaded.searcher

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the index is broken")

    with monkeypatch.context() as broken:
        broken.setattr(searcher, "nearest", fail)
        client.wait(lambda state: not state["ready"])
        assert client.post("/v1/search", files={"image": ("x.png", picture(1))}).status_code == 500
        assert client.get("/readyz").status_code == 503
    client.wait(lambda state: state["ready"])


def test_a_vector_that_is_known_is_no_proof(shop: Shop, serve: Serve) -> None:
    shop.publish(8)
    client = serve(probe_seconds=60.0)
    client.wait(lambda state: state["ready"])
    service = client.runtime.service
    assert client.post("/v1/search", files={"image": ("x.png", picture(1))}).status_code == 200
    proved_at = service.proved_at
    for query in ({"files": {"image": ("x.png", picture(1))}}, {"json": {"product_id": "a"}}):
        assert client.post("/v1/search", **query).status_code == 200
    assert service.proved_at == proved_at


def test_queries_count_as_proof(shop: Shop, serve: Serve) -> None:
    shop.publish(8)
    client = serve(probe_seconds=60.0)
    client.wait(lambda state: state["ready"])
    before = client.get("/readyz").json()["proved_seconds_ago"]
    client.post("/v1/search", files={"image": ("x.png", BLANK)})
    assert client.get("/readyz").json()["proved_seconds_ago"] < before + 0.5


def test_overload_is_told_with_a_time_to_come_back(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish(8)
    client = serve(batching={"queue_size": 1}, probe_seconds=60.0)
    client.wait(lambda state: state["ready"])
    client.wait_for_queries(0)  # ready is known before the probe that showed it has left
    encoder = client.loaded.searcher.encoder
    infer, may_go = encoder.infer, threading.Event()

    def hold(batch: Any) -> Any:
        may_go.wait(10)
        return infer(batch)

    monkeypatch.setattr(encoder, "infer", hold)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/search", files={"image": ("x.png", BLANK)})
        try:
            client.wait_for_queries(1)
            response = client.search(product_id="a")
        finally:
            may_go.set()
    assert (response.status_code, response.json()["code"]) == (429, "overloaded")
    assert int(response.headers["retry-after"]) >= 1
    assert b"lookalike_overloaded_total 1.0" in client.get("/metrics").content
    assert first.result().status_code == 200
    assert client.search(product_id="a").status_code == 200


def test_a_query_that_takes_too_long(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish(8)
    client = serve(limits={"request_seconds": 0.3})
    client.wait(lambda state: state["ready"])
    encoder = client.loaded.searcher.encoder
    infer = encoder.infer

    def dawdle(batch: Any) -> Any:
        time.sleep(1)
        return infer(batch)

    monkeypatch.setattr(encoder, "infer", dawdle)
    response = client.post("/v1/search", files={"image": ("x.png", BLANK)})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
