"""Readiness; and the recall probe, on an index that finds all, and on one that looks into one list of many."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import faiss
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from lookalike.data.embeddings import HASH
from lookalike.data.snapshots.duplicates import Duplicates
from lookalike.data.snapshots.products import Products
from lookalike.serving.live.loaded import BLANK
from lookalike.serving.live.probes import LOWEST, probe
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.searcher import Searcher
from tests.serving.conftest import Serve
from tests.support.client import Client, wait_for
from tests.support.shop import Shop, picture, write_pictures


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


def test_pictures_that_cannot_be_read_are_told_at_once(
    shop: Shop, serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = write_pictures(tmp_path, 8)
    for number, row in enumerate(rows):
        row |= {"file": row["image"], "image": f"https://cdn.shop.test/{number}.png"}
    shop.point_at(shop.build_rows(rows))
    told = "of 4 products that were tried, no picture can be read, so the search page shows none"
    client = serve()
    line = wait_for(lambda: [line for line in caplog.messages if told in line], bool)
    assert "cdn.shop.test" in line[0]
    assert "LOOKALIKE_FETCH__ALLOWED_HOSTS" in line[0]
    assert client.search(product_id="a").status_code == 200
    shop.publish(8)
    wait_for(lambda: client.runtime.pictures.tried == shop.channel.current().snapshot, bool)
    assert len([line for line in caplog.messages if told in line]) == 1


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


class Named:
    """As many products as rows, named by them."""

    alive = None

    def __init__(self, count: int) -> None:
        self.count = self.rows = count

    def __len__(self) -> int:
        return self.count

    def any_id(self, place: int) -> str:
        return str(place)

    def row(self, product: str) -> int:
        return int(product)


def searcher(nprobe: int, copies: int = 1) -> Searcher:
    random = np.random.default_rng(1)
    vectors = np.repeat(random.normal(size=(2000 // copies, 16)).astype(np.float32), copies, axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = faiss.index_factory(16, "IVF32,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    sharded = ShardedIndex([index], nprobe=nprobe)
    sharded.warm_up()
    made = Searcher.__new__(Searcher)
    made._index = sharded
    made.products = cast("object", Named(2000))  # type: ignore[assignment]
    hashes = pa.array([b"%032d" % (row // copies) for row in range(2000)], HASH)
    made.duplicates = Duplicates.of(
        Products.of(pa.table({"id": list(map(str, range(2000))), "image_hash": hashes})), None
    )
    return made


def mean(nprobe: int, copies: int = 1) -> float:
    here, random = searcher(nprobe, copies), np.random.default_rng(2)
    return float(np.mean([probe(here, random) for _ in range(100)]))


def test_an_index_that_looks_everywhere_finds_all() -> None:
    assert mean(32) == 1.0


def test_an_index_that_looks_into_few_lists_is_found_out() -> None:
    """The probe agrees with recall as it is worked out here, by brute force."""
    here = searcher(2)
    vectors: NDArray[np.float32] = np.stack([here.direction_of(row) for row in range(2000)])
    reached = []
    for row in range(0, 2000, 20):
        scores = vectors @ vectors[row]
        scores[row] = -2
        true = set(np.argsort(-scores)[:10].tolist())
        found = [one for one in here.nearest(vectors[row], 11).rows.tolist() if one != row][:10]
        reached.append(len(true & set(found)) / 10)
    assert mean(2) == pytest.approx(float(np.mean(reached)), abs=0.06)
    assert mean(2) < 0.8


def test_products_that_show_the_same_picture_are_no_merit() -> None:
    """Of twenty that show it, ten are found in the nearest list; a photo in no index has none."""
    assert mean(32, copies=20) == 1.0
    assert mean(1, copies=20) < 0.8


def gauge(client: Client, name: str) -> float | None:
    lines = client.get("/metrics").text.splitlines()
    found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} "))]
    return found[0] if found else None


def test_it_runs_in_the_background_by_setting(shop: Shop, serve: Serve) -> None:
    shop.publish(24)
    quiet, probed = serve(), serve(recall_seconds=0.02)
    for client in (quiet, probed):
        client.wait(lambda state: state["ready"])
    wait_for(lambda: gauge(probed, "lookalike_recall_probes_total"), lambda count: (count or 0) >= 3)
    assert gauge(probed, "lookalike_recall") == 1.0
    assert gauge(quiet, "lookalike_recall") is None
    assert gauge(quiet, "lookalike_recall_probes_total") == 0
    threads = {thread.name: thread.native_id for thread in threading.enumerate()}
    numbers = [number for name, number in threads.items() if name.startswith("recall") and number is not None]
    assert [os.getpriority(os.PRIO_PROCESS, number) for number in numbers] == [LOWEST] * len(numbers)
    assert numbers


def test_it_goes_on_with_the_next_snapshot(shop: Shop, serve: Serve) -> None:
    shop.publish(8)
    client = serve(recall_seconds=0.02)
    client.wait(lambda state: state["ready"])
    second = shop.publish(12)
    client.wait(lambda state: state["snapshot"] == second.id)
    before = gauge(client, "lookalike_recall_probes_total") or 0
    wait_for(lambda: gauge(client, "lookalike_recall_probes_total"), lambda count: (count or 0) > before + 1)
    time.sleep(0.05)
    assert client.runtime.recall._snapshot == second.id
