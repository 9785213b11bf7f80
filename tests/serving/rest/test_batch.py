"""Batches: each query for itself, in order, from one snapshot, within the same limits."""

from __future__ import annotations

import base64
import threading
import time
from typing import Any

import pytest

from lookalike.serving import replies
from lookalike.serving.replies import write_hits
from lookalike.serving.search import service
from tests.serving.conftest import Serve
from tests.support.client import PATIENCE_SECONDS, Client
from tests.support.shop import Shop, picture

GOOD = base64.b64encode(picture(1)).decode()


def ask(client: Client, *queries: Any, **more: Any) -> list[dict[str, Any]]:
    reply = client.post("/v1/search/batch", json={"queries": queries, **more})
    assert reply.status_code == 200, reply.text
    results: list[dict[str, Any]] = reply.json()["results"]
    return results


def test_results_and_problems_stand_in_order(client: Client) -> None:
    queries: list[Any] = [
        {"product_id": "a", "k": 3, "facets": ["category"]},
        {"product_id": "none such"},
        {"image": GOOD, "k": 2, "fields": ["score"]},
        {"image": base64.b64encode(b"text").decode()},
        {"k": 3},
        7,
        {"product_id": "a", "filter": "colour=red"},
        {"product_id": "a", "snapshot": "x"},
        {"vector": [1.0] * 192, "filter": ["category=shoes"]},
    ]
    results = ask(client, *queries)
    codes = [result.get("problem", {}).get("code") for result in results]
    assert codes == [
        *(None, "unknown_product", None, "image_not_an_image", "no_query", "bad_field", "unknown_attribute"),
        *("bad_field", None),
    ]
    for query, result in zip(queries, results, strict=True):
        if "problem" in result:
            assert set(result) == {"problem"}
            assert result["problem"]["type"] == f"/problems#{result['problem']['code']}"
        else:
            alone = client.search(**query).json()
            assert result == {name: alone[name] for name in ("total", "hits", "facets") if name in alone}


def test_a_batch_says_its_snapshot_and_its_request(served: tuple[Shop, Client]) -> None:
    shop, client = served
    reply = client.post("/v1/search/batch", json={"queries": [{"product_id": "?"}]}, headers={"x-request-id": "mine"})
    assert set(reply.json()) == {"snapshot", "took_ms", "results"}
    assert reply.json()["snapshot"] == shop.channel.current().snapshot
    assert reply.json()["results"][0]["problem"]["request_id"] == "mine"


def test_its_pictures_share_batches_of_the_encoder(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = client.loaded.searcher.encoder
    infer, sizes = encoder.infer, []

    def count(batch: Any) -> Any:
        sizes.append(len(batch))
        time.sleep(0.02)
        return infer(batch)

    monkeypatch.setattr(encoder, "infer", count)
    images = [base64.b64encode(picture(700 + number)).decode() for number in range(12)]
    results = ask(client, *({"image": image, "k": 1} for image in images))
    assert all("hits" in result for result in results)
    assert sum(sizes) in {12, 13}  # a probe's picture may be among them
    assert len(sizes) < 12


def test_each_query_takes_its_place_in_the_queue(shop: Shop, serve: Serve) -> None:
    shop.publish(8)
    client = serve(batching={"queue_size": 2}, probe_seconds=60)  # a probe takes a place, too
    client.wait(lambda state: state["ready"])
    client.wait_for_queries(0)
    results = ask(client, *({"product_id": "a"} for _ in range(5)))
    assert [result.get("problem", {}).get("code") for result in results] == [None, None, *["overloaded"] * 3]
    assert client.runtime.service._in_progress == 0


def test_what_is_not_done_in_time_is_told_and_the_rest_is_sent(
    shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish(8)
    client = serve(limits={"request_seconds": 2.0})
    client.wait(lambda state: state["ready"])
    encoder = client.loaded.searcher.encoder
    infer, answered = encoder.infer, threading.Event()

    def dawdle(batch: Any) -> Any:
        answered.wait(PATIENCE_SECONDS)
        return infer(batch)

    monkeypatch.setattr(encoder, "infer", dawdle)
    try:
        results = ask(client, {"product_id": "a", "k": 1}, {"image": GOOD})
    finally:
        answered.set()
    assert len(results[0]["hits"]) == 1
    assert results[1]["problem"]["code"] == "deadline_exceeded"


def test_a_bug_in_one_costs_the_others_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    searcher = client.loaded.searcher

    def fail(row: int) -> Any:
        raise RuntimeError("a bug that names /etc/secret")

    monkeypatch.setattr(searcher, "direction_of", fail)
    results = ask(client, {"product_id": "a"}, {"image": GOOD})
    assert results[0]["problem"]["code"] == "internal"
    assert "secret" not in str(results)
    assert "secret" in caplog.text
    assert results[1]["hits"]


def test_a_batch_counts_by_its_queries(shop: Shop, serve: Serve) -> None:
    shop.publish(8)
    client = serve(rates={"per_address": 1, "burst": 10})
    client.wait(lambda state: state["ready"])
    assert len(ask(client, *({"product_id": "a"} for _ in range(6)))) == 6
    refused = client.post("/v1/search/batch", json={"queries": [{"product_id": "a"}] * 6})
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1


def test_large_replies_are_written_where_nobody_waits_for_them(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the event loop writes hits, no other request is taken, and no probe answered."""
    threads: list[str] = []

    def watched(*given: Any, **more: Any) -> Any:
        threads.append(threading.current_thread().name)
        return write_hits(*given, **more)

    monkeypatch.setattr(replies, "write_hits", watched)
    query = {"product_id": "a", "k": 20, "facets": ["category"]}
    few, many = ask(client, query), ask(client, *[query] * 10, {"product_id": "none such"})
    assert many[:10] == few * 10
    assert many[10]["problem"]["code"] == "unknown_product"
    assert not threads[0].startswith("write")
    assert [name[:5] for name in threads[1:]] == ["write"] * 10
    monkeypatch.setattr(service, "LARGE_REPLY", 20)
    assert client.search(**query).json()["hits"] == few[0]["hits"]
    assert client.get("/v1/products/a/similar", params={"k": 20}).json()["hits"] == few[0]["hits"]
    assert [name[:5] for name in threads[11:]] == ["write"] * 2


def test_without_a_snapshot_there_is_one_answer(shop: Shop, serve: Serve) -> None:
    reply = serve().post("/v1/search/batch", json={"queries": [{"product_id": "a"}] * 2})
    assert (reply.status_code, reply.json()["code"]) == (503, "not_ready")
