"""Replies that would be too large: refused before they are made, by the bytes of the products in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lookalike.data.stores.local import LocalStore
from tests.serving.conftest import make_settings
from tests.support.client import Client, running
from tests.support.shop import Shop, write_pictures

MEBIBYTE = 2**20
COUNT = 24
DESCRIPTION = MEBIBYTE // 4
"""Bytes: five products are too many for a reply of 1 MiB."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    from lookalike.serving.rest.app import create_app
    from lookalike.serving.runtime import Runtime

    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.point_at(shop.build_rows(_describe(write_pictures(folder, COUNT))))
    settings = make_settings(folder, limits={"max_reply_bytes": MEBIBYTE})
    with running(create_app(Runtime(settings))) as client:
        client.wait(lambda state: state["ready"])
        yield client


def _describe(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for number, row in enumerate(rows):
        row["attributes"]["description"] = f"{number} ".ljust(DESCRIPTION, "x")
    return rows


def code(client: Client, **query: Any) -> str:
    reply = client.search(product_id="a", **query)
    return str(reply.json().get("code", reply.status_code))


def test_a_reply_has_a_limit_in_bytes(client: Client) -> None:
    assert code(client, k=2) == "200"
    assert code(client, k=10) == "reply_too_large"
    assert client.runtime.replies.held == 0


@pytest.mark.parametrize("fields", [["title"], ["attributes.price", "title"], ["score"], ["image_url"]])
def test_fields_that_are_not_sent_do_not_count(client: Client, fields: list[str]) -> None:
    whole = client.search(product_id="a", k=2).json()["hits"]
    reply = client.search(product_id="a", k=COUNT, fields=fields)
    assert reply.status_code == 200, reply.text
    hits = reply.json()["hits"]
    assert len(hits) == COUNT - 1
    for hit, of_whole in zip(hits, whole, strict=False):
        for name in {"title", "score", "image_url"} & set(fields):
            assert hit[name] == of_whole[name]
        if "attributes.price" in fields:
            assert hit["attributes"] == {"price": of_whole["attributes"]["price"]}


def test_the_field_that_is_large_counts(client: Client) -> None:
    assert code(client, k=COUNT, fields=["attributes.description"]) == "reply_too_large"
    assert code(client, k=COUNT, fields=["attributes"]) == "reply_too_large"


def test_lookalikes_and_lists_have_the_same_limit(client: Client) -> None:
    for path in ("/v1/products/a/similar?k=20", "/v1/products?limit=20"):
        assert client.get(path).json()["code"] == "reply_too_large"
        assert client.get(path.replace("20", "2")).status_code == 200


def test_the_queries_of_a_batch_share_one_limit(client: Client) -> None:
    small = {"product_id": "a", "k": COUNT, "fields": ["title"]}
    queries = [small, {"product_id": "a", "k": 2}] + [{"product_id": "a", "k": 2}] * 30
    reply = client.post("/v1/search/batch", json={"queries": queries})
    assert reply.status_code == 200
    assert len(reply.content) < 2 * MEBIBYTE
    # they are answered beside each other: which of them are the ones that fit is not promised
    codes = [result.get("problem", {}).get("code") for result in reply.json()["results"]]
    assert 1 <= codes.count(None) <= 3
    assert codes.count("reply_too_large") == len(codes) - codes.count(None)
    assert client.runtime.replies.held == 0


def test_products_without_attributes_have_their_size(tmp_path: Path) -> None:
    import pyarrow as pa

    from lookalike.data.snapshots.products import Products

    table = pa.table(
        {"id": ["a", "b"], "title": ["x" * 100, ""], "image": ["", ""], "image_version": ["", ""],
         "image_hash": pa.array([bytes(32)] * 2, pa.binary(32))}
    )  # fmt: skip
    sizes: list[int] = []
    assert [one.id for one in Products.of(table).take([1, 0], names=["none"], check=sizes.append)] == ["b", "a"]
    assert 100 <= sizes[0] < 1000
