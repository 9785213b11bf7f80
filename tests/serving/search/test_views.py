"""Products with several pictures: hits say which one is the nearest, and each can be had."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookalike.data.stores.local import LocalStore
from lookalike.serving.replies import image_path
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from tests.serving.conftest import make_settings
from tests.support.client import Client, running
from tests.support.shop import Shop, picture

PRODUCTS = 16


def draw(product: int, view: int) -> bytes:
    return picture(1000 * view + product)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Serve products p0 to p15, of which the number n has 1 + n % 4 pictures; the id `.` stands for p3."""
    folder = tmp_path_factory.mktemp("shop")
    rows = []
    for number in range(PRODUCTS):
        files = [folder / f"{number}-{view}.png" for view in range(1, 2 + number % 4)]
        for view, file in enumerate(files, 1):
            file.write_bytes(draw(number, view))
        rows.append(
            {
                "id": "." if number == 3 else f"p{number}",
                "title": f"Product {number}",
                "image": str(files[0]),
                "views": [str(file) for file in files[1:]],
                "attributes": {"pair": f"pair {number // 2}", "price": float(number)},
            }
        )
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.point_at(shop.build_rows(rows))
    with running(create_app(Runtime(make_settings(folder)))) as served:
        served.wait(lambda state: state["ready"])
        yield served


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def find(client: Client, data: bytes, **options: Any) -> list[dict[str, Any]]:
    reply = client.search(image=encoded(data), **options)
    assert reply.status_code == 200, reply.text
    hits: list[dict[str, Any]] = reply.json()["hits"]
    return hits


def test_a_hit_says_which_picture_is_the_nearest_and_shows_it(client: Client) -> None:
    for number in range(PRODUCTS):
        for view in range(1, 2 + number % 4):
            hit = find(client, draw(number, view), k=1)[0]
            assert hit["title"] == f"Product {number}"
            assert hit.get("view") == (view if number % 4 else None)
            shown = client.get(hit["image_url"])
            assert hashlib.sha256(shown.content).digest() == hashlib.sha256(draw(number, view)).digest()
            small = client.get(hit["image_url"] + ("&" if "?" in hit["image_url"] else "?") + "size=64")
            assert max(Image.open(io.BytesIO(small.content)).size) == 64
    assert image_path(".", 2) == "/v1/products/_/image?id=.&view=2"
    assert image_path("a", 1) == image_path("a") == "/v1/products/a/image"


def test_products_count_once_whatever_is_asked(client: Client) -> None:
    every = find(client, draw(7, 4), k=100)
    assert len(every) == len({hit["id"] for hit in every}) == PRODUCTS
    pages = [hit for offset in range(0, PRODUCTS, 5) for hit in find(client, draw(7, 4), k=5, offset=offset)]
    assert pages == every
    assert {hit["id"] for hit in find(client, draw(7, 4), k=100, filter=["price<4"])} == {"p0", "p1", "p2", "."}
    pairs = find(client, draw(7, 4), k=100, group_by="pair")
    assert len(pairs) == PRODUCTS // 2
    assert find(client, draw(7, 4), k=1, min_score=0.999)[0]["view"] == 4
    assert [set(hit) for hit in find(client, draw(7, 4), k=1, fields=["view"])] == [{"id", "view"}]
    assert all(hit["id"] != "p7" for hit in client.search(product_id="p7", k=100).json()["hits"])
    assert client.get("/v1/products", params={"limit": 100}).json()["total"] == PRODUCTS


def test_scores_are_those_of_the_nearest_picture(client: Client) -> None:
    searcher = client.loaded.searcher
    asked = searcher.embed(picture(99))
    best: dict[str, tuple[float, int | None]] = {}
    for number in range(PRODUCTS):
        views = range(1, 2 + number % 4)
        vectors = [searcher.direction(searcher.embed(draw(number, view))) for view in views]
        scores = [float(searcher.direction(asked) @ vector) for vector in vectors]
        nearest = int(np.argmax(scores))
        best[f"Product {number}"] = (scores[nearest], nearest + 1 if number % 4 else None)
    for hit in find(client, picture(99), k=100):
        score, view = best[hit["title"]]
        assert (hit["score"], hit.get("view")) == (pytest.approx(score, abs=2e-3), view)


def test_several_pictures_may_ask_for_the_best_instead_of_the_mean(client: Client) -> None:
    pictures = [draw(5, 2), draw(14, 3), picture(77)]
    each = [{hit["id"]: hit["score"] for hit in find(client, one, k=100)} for one in pictures]
    positive = [{"image": encoded(one)} for one in pictures]
    best = client.search(positive=positive, combine="best", k=100).json()["hits"]
    assert {hit["id"] for hit in best[:2]} == {"p5", "p14"}
    assert {hit["id"]: hit["view"] for hit in best[:2]} == {"p5": 2, "p14": 3}
    for hit in best:
        assert hit["score"] == pytest.approx(max(scores[hit["id"]] for scores in each), abs=1e-5)
    assert [hit["score"] for hit in best] == sorted((hit["score"] for hit in best), reverse=True)
    few = client.search(positive=positive, combine="best", k=3).json()["hits"]
    assert [hit["id"] for hit in few] == [hit["id"] for hit in best[:3]]
    mean = client.search(positive=positive, k=100).json()["hits"]
    assert mean == client.search(positive=positive, combine="mean", k=100).json()["hits"]
    assert [hit["score"] for hit in mean] != [hit["score"] for hit in best]
    with_words = client.search(positive=[*positive, {"text": "product"}], combine="best", k=100).json()["hits"]
    assert len(with_words) == PRODUCTS
    assert client.search(positive=positive, combine="worst").json()["code"] == "bad_field"


def test_words_alone_have_no_nearest_picture(client: Client) -> None:
    hits = client.search(text="product 7", k=3).json()["hits"]
    assert hits[0]["id"] == "p7"
    assert "view" not in hits[0]
    both = client.search(text="product 7", image=encoded(draw(7, 3)), k=1, explain=True).json()["hits"][0]
    assert (both["id"], both["view"]) == ("p7", 3)


def test_a_product_says_how_many_pictures_it_has_and_others_are_refused(client: Client) -> None:
    assert client.get("/v1/products/p7").json()["pictures"] == 4
    assert "pictures" not in client.get("/v1/products/p4").json()
    for view in (0, -1, 5, 10**30):
        reply = client.get(f"/v1/products/p7/image?view={view}")
        assert (reply.status_code, reply.json()["code"]) == (404, "unknown_view")
    assert client.get("/v1/products/p4/image?view=2").json()["code"] == "unknown_view"
    assert client.get("/v1/products/p7/image?view=two").json()["code"] == "bad_field"
    tags = {client.get(f"/v1/products/p7/image?view={view}").headers["etag"] for view in (1, 2, 3, 4)}
    assert len(tags) == 4
