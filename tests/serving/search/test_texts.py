"""Texts over HTTP, in a snapshot that knows what titles mean: found, explained, counted, and beside pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lookalike.data.stores.local import LocalStore
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from tests.serving.conftest import make_settings
from tests.support.client import Client, running
from tests.support.shop import Shop, write_pictures
from tests.support.towers import COLOURS, TWO_TOWERS


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server of twelve products of four kinds, the last one without a title."""
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.text_encoder = "fake"
    rows = write_pictures(folder, 12)
    titles = ["scarlet shoe", "navy hat", "olive bag", "amber lamp"]
    for number, row in enumerate(rows):
        row["title"] = f"{titles[number % 4]} {number}" if number < 11 else ""
    shop.point_at(shop.build_rows(rows))
    with running(create_app(Runtime(make_settings(folder)))) as client:
        client.wait(lambda state: state["ready"])
        yield client


def search(client: Client, **query: Any) -> dict[str, Any]:
    response = client.post("/v1/search", json=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_text_is_found_by_all_channels_and_each_hit_says_what_they_gave(client: Client) -> None:
    found = search(client, text="scarlet shoe", explain=True)
    assert {hit["title"].rpartition(" ")[0] for hit in found["hits"][:3]} == {"scarlet shoe"}
    best = found["hits"][0]
    assert set(best["why"]["scores"]) == {"words", "meaning", "looks"}
    scores = best["why"]["scores"]
    mean = (0.5 * scores["words"] + 0.5 * scores["meaning"] + 0.1 * scores["looks"]) / 1.1
    assert best["score"] == pytest.approx(mean, abs=0.001)


def test_it_says_what_a_text_looks_like(client: Client) -> None:
    likes = search(client, text="scarlet shoe", explain=True)["understood"]["looks_like"]
    assert {like["title"].rpartition(" ")[0] for like in likes[:3]} == {"scarlet shoe"}
    assert [like["weight"] for like in likes] == sorted((like["weight"] for like in likes), reverse=True)
    assert len(likes) == 5
    without = search(client, text="scarlet shoe", explain=True, weights={"looks": 0})
    assert "looks_like" not in without["understood"]


def test_weights_turn_channels_on_and_off(client: Client) -> None:
    words = search(client, text="scarlet shoe", weights={"meaning": 0, "looks": 0}, explain=True)
    assert len(words["hits"]) < 12  # the others have none of the words
    assert set(words["hits"][0]["why"]["scores"]) == {"words"}
    pictures = search(client, text="scarlet shoe", weights={"words": 0, "meaning": 0}, explain=True)
    assert set(pictures["hits"][0]["why"]["scores"]) == {"looks"}


def test_pages_filters_and_least_scores_fit_together(client: Client) -> None:
    whole = search(client, text="navy hat", k=12)["hits"]
    parts = [hit for offset in range(0, 12, 4) for hit in search(client, text="navy hat", k=4, offset=offset)["hits"]]
    assert [hit["id"] for hit in parts] == [hit["id"] for hit in whole]
    above = search(client, text="navy hat", k=12, min_score=whole[4]["score"])["hits"]
    assert [hit["id"] for hit in above] == [hit["id"] for hit in whole[:5]]
    few = search(client, text="navy hat", k=12, filter=["stock<4"])["hits"]
    assert [hit["id"] for hit in few] == [hit["id"] for hit in whole if hit["attributes"]["stock"] < 4]


def test_texts_have_a_queue_of_their_own(client: Client) -> None:
    def count(name: str) -> float:
        line = next(line for line in client.get("/metrics").text.splitlines() if line.startswith(name))
        return float(line.rpartition(" ")[2])

    names = ['lookalike_text_vectors_total{source="encoded"}', 'lookalike_text_vectors_total{source="cached"}']
    pictures = 'lookalike_query_vectors_total{source="encoded"}'
    before = [count(name) for name in (*names, pictures)]
    for _ in range(2):
        search(client, text="a text of its own")
    assert [count(name) for name in (*names, pictures)] == [before[0] + 1, before[1] + 1, before[2]]


@pytest.mark.parametrize(
    "text", ["🦊", "...", "مرحبا", "红色运动鞋", "<script>alert(1)</script>'; DROP TABLE x;--", "a" * 512, "\x07bell"]
)
def test_odd_texts_get_an_answer(client: Client, text: str) -> None:
    response = client.post("/v1/search", json={"text": text})
    assert response.status_code in {200, 422}
    assert response.status_code == 200 or response.json()["code"] == "bad_text"


def test_a_channel_that_the_snapshot_lacks(shop: Shop, serve: Callable[..., Client]) -> None:
    shop.publish(6)
    client = serve()
    client.wait(lambda state: state["ready"])
    refused = client.post("/v1/search", json={"text": "product", "weights": {"meaning": 1}})
    assert (refused.status_code, refused.json()["code"]) == (422, "no_text_channel")
    assert "--text-encoder minilm" in refused.json()["detail"]


def test_an_encoder_that_knows_texts_says_what_pictures_show(tmp_path: Path) -> None:
    shop = Shop(LocalStore(tmp_path / "store"), tmp_path)
    rows = write_pictures(tmp_path, 12)
    for number, row in enumerate(rows):
        row["title"] = f"thing {number}"
        Image.new("RGB", (64, 64), COLOURS[number % 6]).save(row["image"])
        row["id"] = f"{COLOURS[number % 6]}-{number}"
        with Path(row["image"]).open("ab") as file:
            file.write(bytes([number]))  # no two pictures are the same file
    shop.point_at(shop.build_rows(rows, encoder=TWO_TOWERS))
    with running(create_app(Runtime(make_settings(tmp_path)))) as client:
        client.wait(lambda state: state["ready"])
        found = search(client, text="purple thing", explain=True, k=2)
        assert {hit["id"].partition("-")[0] for hit in found["hits"]} == {"purple"}
        scores = found["hits"][0]["why"]["scores"]
        assert set(scores) == {"words", "shows"}
        assert found["hits"][0]["score"] == pytest.approx((scores["words"] + scores["shows"]) / 2, abs=0.001)
        assert search(client, text="purple", weights={"shows": 1, "words": 0}, k=2)["hits"] != []
