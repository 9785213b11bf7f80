from __future__ import annotations

import pytest

from tests.support.client import Client
from tests.support.shop import product_ids


def look_up(client: Client, find: str, **more: str) -> list[str]:
    found = client.get("/v1/products", params={"find": find, "limit": 100, **more}).json()
    assert found["total"] == len(found["products"])
    return [product["id"] for product in found["products"]]


def test_by_the_words_of_a_title_in_any_case_and_order(client: Client) -> None:
    assert look_up(client, "b>&< PRODUCT 17") == [product_ids(24)[17]]
    assert set(look_up(client, "product 1")) == {one for at, one in enumerate(product_ids(24)) if "1" in str(at)}


def test_who_is_called_so_comes_first(client: Client) -> None:
    assert look_up(client, "Product 2 <b>&</b>")[0] == product_ids(24)[2]
    assert look_up(client, "a")[0] == "a"
    assert "a/image" in look_up(client, "a")


def test_by_the_beginning_of_a_number(client: Client) -> None:
    assert set(look_up(client, "SHOES/")) == {one for one in product_ids(24) if one.startswith("shoes/")}
    assert look_up(client, "hoes/0") == []


def test_together_with_filters_and_pages(client: Client) -> None:
    whole = look_up(client, "product", filter="category=shoes")
    assert set(whole) == set(product_ids(24)[::3])
    pages = [
        client.get("/v1/products", params={"find": "product", "filter": "category=shoes", "limit": 3, "offset": at})
        for at in range(0, 9, 3)
    ]
    assert [product["id"] for page in pages for product in page.json()["products"]] == whole


@pytest.mark.parametrize(("find", "count"), [("", 24), ("  ", 24), ("none such", 0), (".*", 0)])
def test_odd_texts(client: Client, find: str, count: int) -> None:
    assert len(look_up(client, find)) == count


def test_a_text_that_is_too_long_is_refused(client: Client) -> None:
    response = client.get("/v1/products", params={"find": "x" * 201})
    assert (response.status_code, response.json()["code"]) == (422, "bad_field")
