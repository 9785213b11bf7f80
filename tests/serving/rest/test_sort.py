"""Orders and counts of hits: each page is a piece of the best hits, sorted as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import httpx
import pytest

from lookalike.data.stores.local import LocalStore
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from tests.serving.conftest import make_settings
from tests.support.client import Client, running
from tests.support.shop import Shop, picture

COUNT = 60
BRANDS = ("acme", "zeta", "lee")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Products with prices that many share and some lack, dates, brands, and pictures that two share."""
    folder = tmp_path_factory.mktemp("shop")
    rows = []
    for number in range(COUNT):
        file = folder / f"{number}.png"
        file.write_bytes(picture(number // 2 if number < 20 else number))
        attributes = {
            "price": None if number % 7 == 0 else 10 + number * 37 % 11,
            "added": date(2026, 11, 1 + number % 28),
            "brand": BRANDS[number % 3],
            "model": f"m{number % 25}",
            "sizes": ["s", "m"] if number % 2 else ["m"],
            "score": number,
        }
        rows.append({"id": f"p{number}", "title": f"Thing {number}", "image": str(file), "attributes": attributes})
    made = Shop(LocalStore(folder / "store"), folder)
    made.point_at(made.build_rows(rows))
    with running(create_app(Runtime(make_settings(folder)))) as client:
        client.wait(lambda state: state["ready"])
        yield client


def hits(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["hits"]
    return found


def sort(found: list[dict[str, Any]], name: str, *, is_descending: bool) -> list[str]:
    """Return the ids as sorting all by hand has them: equal ones by score, those without a value last."""
    there = [hit for hit in found if hit["attributes"][name] is not None]
    there.sort(key=lambda hit: hit["attributes"][name], reverse=is_descending)  # which keeps equal ones as they were
    return [hit["id"] for hit in there + [hit for hit in found if hit["attributes"][name] is None]]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"reach": 13},
    {"filter": ["brand=acme", "price>=12"]},
    {"min_score": 0.1},
    {"group_by": "model", "reach": 20},
    {"collapse": "exact", "reach": 30},
    {"collapse": "exact", "group_by": "brand"},
    {"filter": ["price>1000"]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["price", "added"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_pages_are_pieces_of_the_best_hits_sorted(
    shop: Client, options: dict[str, Any], name: str, direction: str
) -> None:
    best = hits(shop.search(product_id="p3", k=options.get("reach", 200), **options))
    wanted = sort(best, name, is_descending=direction == "desc")
    by_id = {hit["id"]: hit for hit in best}
    paged: list[dict[str, Any]] = []
    for offset in range(0, COUNT + 7, 7):
        paged += hits(shop.search(product_id="p3", k=7, offset=offset, sort=f"{name}:{direction}", **options))
    assert [hit["id"] for hit in paged] == wanted
    assert all(hit == by_id[hit["id"]] for hit in paged)  # scores and what is hidden go with the hits


def test_the_best_may_come_first_or_last(shop: Client) -> None:
    best = [hit["id"] for hit in hits(shop.search(product_id="p3", k=COUNT))]
    assert [hit["id"] for hit in hits(shop.search(product_id="p3", k=COUNT, sort="score", reach=5))] == best
    turned = hits(shop.search(product_id="p3", k=3, sort="score:asc", reach=5))
    assert [hit["id"] for hit in turned] == best[:5][::-1][:3]
    named = hits(shop.search(product_id="p3", k=3, sort="attributes.score:desc"))
    assert [hit["attributes"]["score"] for hit in named] == [59, 58, 57]


def test_a_form_and_an_address_sort_too(shop: Client) -> None:
    given = {"k": "4", "sort": "price:desc", "reach": "20"}
    files = {"image": ("a.png", picture(3))}
    form = shop.post("/v1/search", data=given, files=files)
    address = shop.get("/v1/products/p3/similar", params=given)
    for found in (hits(form), hits(address)):
        prices = [hit["attributes"]["price"] for hit in found]
        assert prices == sorted(prices, reverse=True)
        assert len(prices) == 4


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({"sort": "brand:asc"}, "bad_sort", "'brand' is of type string: sort by a number, a date or a time"),
        ({"sort": "sizes"}, "bad_sort", "list of string"),
        ({"sort": "colour:asc"}, "unknown_attribute", "There is no attribute 'colour'"),
        ({"sort": ""}, "bad_sort", "write price:asc, price:desc or score"),
        ({"sort": "x" * 5000}, "bad_sort", "send a shorter one"),
        ({"reach": 0}, "bad_reach", "sort and count 1 to 20,000 hits"),
        ({"reach": 20_001}, "bad_reach", "sort and count 1 to 20,000 hits"),
        ({"facets_of": "all"}, "bad_field", "`facets_of`"),
    ],
)
def test_what_cannot_be_sorted_is_refused(shop: Client, options: dict[str, Any], code: str, said: str) -> None:
    found = shop.search(product_id="p3", **options).json()
    assert (found["code"], said in found["detail"]) == (code, True), found


def listed(shop: Client, **params: Any) -> dict[str, Any]:
    found = shop.get("/v1/products", params=params)
    assert found.status_code == 200, found.text
    content: dict[str, Any] = found.json()
    return content


@pytest.mark.parametrize("options", [{}, {"filter": "brand=acme"}, {"find": "thing"}], ids=str)
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_a_list_sorts_all_that_satisfy_the_filters(shop: Client, options: dict[str, Any], direction: str) -> None:
    every = listed(shop, limit=100, **options)["products"]
    wanted = sort(every, "price", is_descending=direction == "desc")
    paged: list[str] = []
    for offset in range(0, COUNT, 25):
        page = listed(shop, limit=25, offset=offset, sort=f"price:{direction}", **options)
        assert page["total"] == len(every)
        paged += [product["id"] for product in page["products"]]
    assert paged == wanted


@pytest.mark.parametrize("text", ["score", "score:asc", "score:desc"])
def test_a_list_has_no_score(shop: Client, text: str) -> None:
    assert shop.get("/v1/products", params={"sort": text}).json()["code"] == "bad_sort"


def count(found: list[dict[str, Any]], name: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for hit in found:
        value = hit["attributes"][name]
        for one in value if isinstance(value, list) else [] if value is None else [value]:
            counts[str(one)] = counts.get(str(one), 0) + 1
    return counts


NAMES = ("brand", "price", "sizes", "added")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_facets_of_hits_count_hits_without_their_own_filter(shop: Client, options: dict[str, Any]) -> None:
    query = {"product_id": "p3", "facets": NAMES, "facets_of": "hits", **options}
    found = shop.search(k=2, **query).json()["facets"]
    for name in NAMES:
        others = [text for text in options.get("filter", []) if not text.startswith(name)]
        best = hits(shop.search(**{**query, "filter": others, "k": options.get("reach", 200)}))
        assert found[name]["values"] == count(best, name), name
        missing = sum(hit["attributes"][name] is None for hit in best)
        assert found[name]["missing"] == missing


def test_a_chosen_value_leaves_the_others_in_sight(shop: Client) -> None:
    given = {"product_id": "p3", "facets": ["brand", "price"], "filter": ["brand=acme"]}
    of_hits = shop.search(facets_of="hits", **given).json()["facets"]
    assert set(of_hits["brand"]["values"]) == set(BRANDS)
    assert sum(of_hits["price"]["values"].values()) < sum(of_hits["brand"]["values"].values())
    of_products = shop.search(**given).json()["facets"]
    assert set(of_products["brand"]["values"]) == {"acme"}


def test_below_the_reach_a_count_is_what_the_value_finds(shop: Client) -> None:
    given: dict[str, Any] = {"product_id": "p3", "min_score": 0.2, "k": 100}
    counted = shop.search(facets=["brand"], facets_of="hits", **given).json()["facets"]["brand"]["values"]
    assert counted
    for brand, number in counted.items():
        assert len(hits(shop.search(filter=[f"brand={brand}"], **given))) == number


def test_nothing_is_counted_where_nothing_is_found(shop: Client) -> None:
    given = {"facets": ["brand"], "facets_of": "hits", "min_score": 1}
    found = shop.search(product_id="p41", **given).json()["facets"]["brand"]  # no other shows its picture
    assert (found["values"], found["missing"]) == ({}, 0)


def test_a_list_counts_each_facet_without_its_own_filter(shop: Client) -> None:
    given = {"filter": ["brand=acme", "price>=12"], "facets": "brand,price", "limit": 1}
    found = listed(shop, facets_of="hits", **given)["facets"]
    assert found["brand"]["values"] == {
        brand: listed(shop, filter=[f"brand={brand}", "price>=12"])["total"] for brand in found["brand"]["values"]
    }
    assert found["price"]["values"] == listed(shop, filter="brand=acme", facets="price")["facets"]["price"]["values"]
    assert listed(shop, **given)["facets"]["brand"]["values"].keys() == {"acme"}
    assert shop.get("/v1/products", params={"facets_of": "all"}).json()["code"] == "bad_field"
