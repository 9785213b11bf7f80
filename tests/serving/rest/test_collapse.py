"""Duplicates as one hit: the same picture always, near-duplicates where a build found them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from lookalike.data.stores.local import LocalStore
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from tests.serving.conftest import Serve, make_settings
from tests.support.client import Client, running
from tests.support.shop import Shop, picture

PICTURES = 8
COPIES = 5  # products that show each of the first two pictures


def rows(folder: Path) -> list[dict[str, Any]]:
    """Products p0-0 to p0-4 show one picture, p1-0 to p1-4 another, the others one each."""
    folder.mkdir(parents=True)
    found = []
    for number in range(PICTURES):
        file = folder / f"{number}.png"
        file.write_bytes(picture(number))
        for copy in range(COPIES if number < 2 else 1):
            attributes = {"colour": "red" if copy % 2 else "blue", "picture": number}
            found.append({"id": f"p{number}-{copy}", "title": "", "image": str(file), "attributes": attributes})
    return found


def published(folder: Path, *, near: bool) -> Shop:
    shop = Shop(LocalStore(folder / "store"), folder)
    products = rows(folder / "pictures")
    groups = [[str(folder / "pictures" / f"{number}.png") for number in (1, 2, 3)]] if near else []
    shop.point_at(shop.build_rows(products, near=groups))
    return shop


@pytest.fixture(scope="module", params=[False, True], ids=["without", "with near-duplicates"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, bool]]:
    folder = tmp_path_factory.mktemp("shop")
    published(folder, near=request.param)
    with running(create_app(Runtime(make_settings(folder)))) as client:
        client.wait(lambda state: state["ready"])
        yield client, request.param


def hits(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["hits"]
    return found


def group(product: str, *, near: bool) -> str:
    number = product[1]
    return "near" if near and number in "123" else number


def expected(client: Client, collapse: str, *, near: bool, **query: Any) -> list[tuple[str, int]]:
    """What collapsing must give, from all hits without it."""
    whole = [hit["id"] for hit in hits(client.search(k=100, **query))]
    best: dict[str, list[str]] = {}
    for product in whole:
        best.setdefault(group(product, near=near and collapse == "duplicates"), []).append(product)
    return [(members[0], len(members) - 1) for members in best.values()]


@pytest.mark.parametrize("collapse", ["exact", "duplicates"])
@pytest.mark.parametrize(
    "query",
    [
        {"product_id": "p0-3"},
        {"product_id": "p2-0"},
        {"product_id": "p1-0", "filter": "colour=red"},
        {"product_id": "p5-0", "filter": ["colour=blue", "picture<=4"]},
    ],
)
def test_a_group_shows_its_best_hit_and_says_how_many_it_hides(
    shop: tuple[Client, bool], query: dict[str, Any], collapse: str
) -> None:
    client, near = shop
    wanted = expected(client, collapse, near=near, **query)
    found = [(hit["id"], hit["hidden"]) for hit in hits(client.search(k=100, collapse=collapse, **query))]
    assert found == wanted
    pages = [hits(client.search(k=2, offset=skip, collapse=collapse, **query)) for skip in range(0, len(wanted), 2)]
    assert [(hit["id"], hit["hidden"]) for page in pages for hit in page] == wanted


def test_by_url_and_by_form(shop: tuple[Client, bool]) -> None:
    client, near = shop
    wanted = expected(client, "duplicates", near=near, product_id="p5-0")
    similar = client.get("/v1/products/p5-0/similar", params={"collapse": "duplicates", "k": 50})
    assert [(hit["id"], hit["hidden"]) for hit in hits(similar)] == wanted
    sent = client.post("/v1/search", files={"image": ("x.png", picture(0))}, data={"collapse": "exact", "k": "1"})
    assert [(hit["id"][:2], hit["hidden"]) for hit in hits(sent)] == [("p0", COPIES - 1)]


def test_it_goes_with_groups_and_fields(shop: tuple[Client, bool]) -> None:
    client, _ = shop
    found = hits(client.search(product_id="p5-0", k=50, collapse="exact", group_by="colour", fields="id"))
    assert len(found) == 2
    assert all(set(hit) == {"id", "hidden"} for hit in found)
    assert all("hidden" not in hit for hit in hits(client.search(product_id="p5-0")))


@pytest.mark.parametrize("value", ["all", "", 5, ["exact"]])
def test_another_value_is_told_what_there_is(shop: tuple[Client, bool], value: Any) -> None:
    reply = shop[0].search(product_id="p5-0", collapse=value)
    assert (reply.status_code, reply.json()["code"]) == (422, "bad_collapse")
    by_url = shop[0].get("/v1/products/p5-0/similar", params={"collapse": "all"})
    assert (by_url.status_code, by_url.json()["code"]) == (422, "bad_collapse")


def test_many_products_of_one_picture_do_not_hide_the_others(tmp_path: Path, serve: Serve) -> None:
    shop = Shop(LocalStore(tmp_path / "store"), tmp_path)
    products = rows(tmp_path / "pictures")
    first = products[0]
    products += [{**first, "id": f"p0-{number}"} for number in range(COPIES, 1000)]
    shop.point_at(shop.build_rows(products))
    client = serve()
    client.wait(lambda state: state["ready"])
    found = hits(client.search(product_id="p0-7", k=10, collapse="exact"))
    assert [(hit["id"][1], hit["hidden"]) for hit in found][:1] == [("0", 998)]
    assert sorted(hit["id"][1] for hit in found) == [str(number) for number in range(PICTURES)]
    assert np.all(np.diff([hit["score"] for hit in found]) <= 0)
