"""Queries by text: alone, beside pictures, with filters and pages, explained; and texts that nobody can search for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import numpy as np
import pytest

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.stores.local import LocalStore
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from lookalike.tasks.search.filters import match_products, parse
from lookalike.tasks.search.searcher import Searcher
from tests.serving.conftest import Serve, make_settings
from tests.support.client import Client, running
from tests.support.shop import Shop, picture

COLOURS = ("red", "blue", "green", "blau")
THINGS = ("running shoe", "hat", "leather bag", "Größe Schuh", "红色运动鞋")
BRANDS = ("Acme", "Zeta", None)
COUNT = 60
Shops = tuple[Shop, Client, Searcher]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    folder = tmp_path_factory.mktemp("shop")
    rows = []
    for number in range(COUNT):
        file = folder / f"{number}.png"
        file.write_bytes(picture(number // 2 if number < 20 else number))
        title = f"{COLOURS[number % 4]} {THINGS[number % 5]}" + (f" {number}" if number % 3 else "")
        attributes = {"brand": BRANDS[number % 3], "price": number, "tags": ["sale", "summer"] if number % 2 else []}
        rows.append({"id": f"p{number}", "title": title, "image": str(file), "attributes": attributes})
    made = Shop(LocalStore(folder / "store"), folder)
    manifest = made.build_rows(rows)
    made.point_at(manifest)
    searcher = Searcher.open(made.store, manifest, BlobCache(folder / "other"), threads=1)
    with running(create_app(Runtime(make_settings(folder)))) as client:
        client.wait(lambda state: state["ready"])
        yield made, client, searcher


@pytest.fixture
def client(shop: Shops) -> Client:
    return shop[1]


def ask(client: Client, **query: Any) -> dict[str, Any]:
    response = client.post("/v1/search", json=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def ids(found: Mapping[str, Any]) -> list[str]:
    return [hit["id"] for hit in found["hits"]]


def by_hand(
    searcher: Searcher, weights: Mapping[str, float], text: str, row: int | None = None, filters: tuple[str, ...] = ()
) -> list[tuple[str, float]]:
    """Return the ids and scores of all products as comparing with each of them has them."""
    assert searcher.words is not None
    everything = np.arange(searcher.products.rows)
    mask = match_products(searcher.products, [parse(one) for one in filters])
    words = searcher.words.query(text).scores(everything)
    sums, offered = weights["words"] * words, words > 0
    if row is not None:
        looks = np.clip(searcher.compare(searcher.direction_of(row), everything), 0, 1)
        sums = sums + weights["picture"] * looks
        offered[:] = True
        mask[row] = False
    scores = sums / (weights["words"] + (weights["picture"] if row is not None else 0))
    order = [one for one in np.lexsort((everything, -scores)).tolist() if mask[one] and offered[one]]
    products = searcher.products.take(order)
    return [(product.id, float(scores[one])) for product, one in zip(products, order, strict=True)]


def test_a_text_finds_what_is_called_so(client: Client) -> None:
    found = ask(client, text="red running shoe", k=3)
    assert all(hit["title"].startswith("red running shoe") for hit in found["hits"])
    assert found["hits"][0]["title"] == "red running shoe"
    assert found["hits"][0]["score"] > 0.9


@pytest.mark.parametrize(
    "text", ["red running shoe", "blue", "acme hat", "grosse", "runing sho", "红色", "sale", "none"]
)
@pytest.mark.parametrize("filters", [(), ("price<30", "brand=Acme")])
def test_hits_are_those_of_comparing_with_each(shop: Shops, text: str, filters: tuple[str, ...]) -> None:
    _, client, searcher = shop
    expected = by_hand(searcher, {"words": 1.0}, text, filters=filters)
    found = ask(client, text=text, k=COUNT, filter=list(filters))
    assert ids(found) == [product for product, _ in expected]
    assert [hit["score"] for hit in found["hits"]] == pytest.approx([score for _, score in expected], abs=2e-6)


@pytest.mark.parametrize("weights", [{"picture": 1.0, "words": 1.0}, {"picture": 0.2, "words": 3}])
@pytest.mark.parametrize("filters", [(), ("price<30",)])
@pytest.mark.parametrize("text", ["blue hat", "nothing like it"])
def test_a_product_and_a_text_are_the_weighted_mean(
    shop: Shops, weights: dict[str, float], filters: tuple[str, ...], text: str
) -> None:
    _, client, searcher = shop
    expected = by_hand(searcher, weights, text, searcher.products.row("p40"), filters)
    query = {"product_id": "p40", "text": text, "weights": weights, "filter": list(filters)}
    found = ask(client, k=COUNT, **query)
    assert ids(found) == [product for product, _ in expected]
    assert [hit["score"] for hit in found["hits"]] == pytest.approx([score for _, score in expected], abs=2e-6)
    pages = [ask(client, k=7, offset=offset, **query) for offset in range(0, COUNT, 7)]
    assert [product for page in pages for product in ids(page)] == ids(found)
    least = found["hits"][9]["score"]
    assert ids(ask(client, k=COUNT, min_score=least, **query)) == [
        h["id"] for h in found["hits"] if h["score"] >= least
    ]


def test_a_picture_and_a_text_in_json_and_in_a_form(client: Client) -> None:
    import base64

    data = picture(40)
    encoded = base64.b64encode(data).decode()
    found = ask(client, image=encoded, text="blue hat", weights={"words": 0.5}, k=5)
    form = {"text": "blue hat", "weights": "words=0.5", "k": "5"}
    response = client.post("/v1/search", files={"image": ("a.png", data)}, data=form)
    assert response.json()["hits"] == found["hits"]
    assert ids(found) != ids(ask(client, image=encoded, k=5))


def test_a_text_in_a_form_and_in_an_address(client: Client) -> None:
    found = ask(client, text="blue hat", filter=["price<50"], weights={"words": 2}, explain=True)
    form = [("text", "blue hat"), ("filter", "price<50"), ("explain", "true"), ("weights", "words=2")]
    response = client.post("/v1/search", files=[(name, (None, value)) for name, value in form])
    assert response.json()["hits"] == found["hits"]
    response = client.get("/v1/search", params=form)
    assert response.json()["hits"] == found["hits"]
    assert response.json()["understood"] == found["understood"]
    similar = client.get("/v1/products/p40/similar", params={"text": "blue hat", "k": 5}).json()
    assert similar["hits"] == ask(client, product_id="p40", text="blue hat", k=5)["hits"]


def test_texts_among_examples(client: Client) -> None:
    both = ask(client, positive=[{"text": "red"}, {"text": "hat", "weight": 3}], k=COUNT)
    assert "hat" in both["hits"][0]["title"]
    assert "red" in both["hits"][0]["title"]
    assert "hat" in both["hits"][5]["title"]
    without = ask(client, positive=[{"text": "hat"}], negative=[{"text": "blue"}], negative_weight=1, k=COUNT)
    titles = [hit["title"] for hit in without["hits"]]
    assert all("hat" in title for title in titles)
    blue = [place for place, title in enumerate(titles) if "blue" in title]
    assert min(blue) > max(place for place in range(len(titles)) if place not in blue)
    mixed = ask(client, positive=[{"product_id": "p40"}, {"text": "hat"}], negative=[{"product_id": "p41"}], k=3)
    assert len(mixed["hits"]) == 3
    away = ask(client, positive=[{"text": "hat"}], negative=[{"product_id": "p41"}], k=COUNT)
    assert all("hat" in hit["title"] for hit in away["hits"])


def test_groups_facets_and_fields_are_as_with_pictures(client: Client) -> None:
    found = ask(client, text="hat", group_by="brand", facets=["brand"], fields=["title"], k=COUNT)
    assert all(set(hit) == {"id", "title"} for hit in found["hits"])
    assert sum(found["facets"]["brand"]["values"].values()) == COUNT * 2 // 3
    assert ask(client, text="hat", facets=["brand"], facets_of="hits")["facets"]["brand"]["missing"] == 4
    prices = [hit["attributes"]["price"] for hit in ask(client, text="hat", sort="price:desc")["hits"]]
    assert prices == sorted(prices, reverse=True)
    collapsed = ask(client, text="red blue green blau", collapse="exact", k=COUNT)
    assert len(collapsed["hits"]) == COUNT - 10
    assert sum(hit["hidden"] for hit in collapsed["hits"]) == 10


def test_explanations_say_what_was_understood_and_why(client: Client) -> None:
    found = ask(client, text="acme runing xyzzy sho", explain=True, k=1, fields=["score"])
    assert found["understood"] == {
        "words": [
            {"word": "acme", "found": "acme", "how": "word"},
            {"word": "runing", "found": "running", "how": "spelling"},
            {"word": "sho", "found": "shoe", "how": "beginning"},
        ],
        "unknown": ["xyzzy"],
    }
    (hit,) = found["hits"]
    assert hit["why"] == {"scores": {"words": hit["score"]}, "words": found["understood"]["words"]}
    both = ask(client, text="hat", product_id="p40", explain=True, k=1)["hits"][0]
    scores = both["why"]["scores"]
    assert both["score"] == pytest.approx((scores["picture"] + scores["words"]) / 2, abs=2e-6)
    assert "why" not in ask(client, text="hat")["hits"][0]
    assert "understood" not in ask(client, product_id="p40", explain=True)


def test_a_batch_takes_texts(client: Client) -> None:
    queries = [{"text": "hat"}, {"text": "!"}, {"product_id": "p1", "text": "hat"}, {"product_id": "p1"}]
    results = client.post("/v1/search/batch", json={"queries": queries}).json()["results"]
    assert results[0]["hits"] == ask(client, text="hat")["hits"]
    assert results[1]["problem"]["code"] == "bad_text"
    assert results[2]["hits"] == ask(client, **queries[2])["hits"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"text": ""}, "bad_text"),
        ({"text": " \t\n"}, "bad_text"),
        ({"text": "?!… ___ 🦊"}, "bad_text"),
        ({"text": "x" * 513}, "bad_text"),
        ({"text": 7}, "bad_field"),
        ({"text": ["a"]}, "bad_field"),
        ({"text": None}, "no_query"),
        ({"text": "a", "positive": [{"text": "b"}]}, "several_queries"),
        ({"text": "a", "product_id": "p1", "vector": [1]}, "several_queries"),
        ({"positive": [{"text": "a", "product_id": "p1"}]}, "several_queries"),
        ({"positive": [{"text": "!"}]}, "bad_text"),
        ({"text": "a", "crop": [0, 0, 1, 1]}, "bad_crop"),
        ({"text": "a", "weights": {"words": 0}}, "bad_weights"),
        ({"text": "a", "weights": {"words": -1}}, "bad_weights"),
        ({"text": "a", "weights": {"words": 101}}, "bad_weights"),
        ({"text": "a", "weights": {"wrods": 1}}, "bad_weights"),
        ({"text": "a", "weights": ["words"]}, "bad_weights"),
        ({"text": "a", "weights": 5}, "bad_weights"),
        ({"text": "a", "weight": 0}, "bad_weights"),
        ({"text": "a", "explain": "yes"}, "bad_field"),
    ],
)
def test_what_cannot_be_searched_for_is_said(client: Client, query: dict[str, Any], code: str) -> None:
    response = client.post("/v1/search", json=query)
    assert (response.status_code // 100, response.json()["code"]) == (4, code)


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE products; --",
        "<script>alert(1)</script>",
        "hat\x00\x07\u202e",
        "مرحبا שלום",
        "ᚠᛇᚻ \U0001d525\U0001d51e\U0001d531",
        "a " * 256,
        "%s%n {0} ${x}",
        "hat\ud83d",
    ],
)
def test_any_text_gets_an_answer(client: Client, text: str) -> None:
    body = json.dumps({"text": text}).encode()
    response = client.post("/v1/search", content=body, headers={"content-type": "application/json"})
    assert response.status_code in {200, 400}, response.text
    if response.status_code == 400:
        assert response.json()["code"] == "malformed_json"


def test_suggestions(client: Client) -> None:
    def suggest(**parameters: Any) -> httpx.Response:
        return client.get("/v1/suggest", params=parameters)

    found = suggest(text="blue r").json()["suggestions"]
    assert found == [{"text": "blue running", "word": "running", "products": 3}]
    assert [one["text"] for one in suggest(text="gros").json()["suggestions"]] == ["größe"]
    assert [one["text"] for one in suggest(text="hta").json()["suggestions"]] == ["hat"]
    filtered = suggest(text="blue r", filter="price<20").json()["suggestions"]
    assert filtered == [{"text": "blue running", "word": "running", "products": 1}]
    assert suggest(text="").json()["suggestions"] == suggest(text="🦊").json()["suggestions"] == []
    assert suggest(text="x" * 513).json()["code"] == "bad_text"
    assert suggest(text="b", limit=21).json()["code"] == "bad_limit"
    assert suggest(text="b", filter="nothing=1").json()["code"] == "unknown_attribute"
    assert client.get("/v1/search").json()["code"] == "no_query"


def test_a_snapshot_without_words_says_how_to_get_them(shop: Shops, serve: Serve, tmp_path: Any) -> None:
    made = Shop(LocalStore(tmp_path / "store"), tmp_path)
    made.words = None
    made.publish(6)
    client = serve()
    client.wait(lambda state: state["ready"])
    for response in (client.post("/v1/search", json={"text": "product"}), client.get("/v1/suggest?text=p")):
        assert response.status_code == 422
        assert response.json()["code"] == "no_text_channel"
        assert "lookalike reindex" in response.json()["detail"]
    assert client.post("/v1/search", json={"product_id": "a", "weights": {"words": 3}}).status_code == 200


def test_texts_are_counted_by_how_they_were_understood_and_not_among_pictures(client: Client) -> None:
    def count(name: str) -> float:
        line = next(line for line in client.get("/metrics").text.splitlines() if line.startswith(name))
        return float(line.rsplit(" ", 1)[1])

    kinds = {"known": "red hat ", "guessed": "red hta ", "partly": "red xyzzy ", "unknown": "xyzzy "}
    names = [f'lookalike_query_texts_total{{result="{kind}"}}' for kind in kinds]
    before = [count(name) for name in names]
    pictures = count("lookalike_best_score_count")
    for text in kinds.values():
        ask(client, text=text)
    ask(client, product_id="p1")
    assert [count(name) for name in names] == [number + 1 for number in before]
    assert count("lookalike_best_score_count") == pictures
