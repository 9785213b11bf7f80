"""Filters and facets over HTTP: as text and in parts, on every type, and what is wrong with each told apart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lookalike.data.stores.local import LocalStore
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from tests.serving.conftest import make_settings
from tests.support.client import Client, running
from tests.support.shop import Shop, picture

NINE = dt.datetime(2026, 1, 31, 9, tzinfo=dt.UTC)
ATTRIBUTES: list[dict[str, Any]] = [
    {"brand": "Lee, Inc.", "day": dt.date(2026, 1, 31), "at": NINE, "sizes": [36]},
    {"brand": 'a "b"', "day": dt.date(2026, 2, 1), "at": NINE + dt.timedelta(1), "sizes": [36, 38]},
    {"brand": "null", "day": None, "at": None, "sizes": []},
    {"brand": None, "day": dt.date(2025, 1, 1), "at": None, "sizes": None},
]  # fmt: skip


def publish(folder: Path, attributes: list[dict[str, Any]]) -> None:
    rows = []
    for number, one in enumerate(attributes):
        file = folder / f"{number}.png"
        file.write_bytes(picture(number))
        rows.append({"id": str(number), "title": "", "image": str(file), "attributes": one})
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.point_at(shop.build_rows(rows))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder: Path = tmp_path_factory.mktemp("shop")
    publish(folder, ATTRIBUTES)
    with running(create_app(Runtime(make_settings(folder)))) as running_client:
        running_client.wait(lambda state: state["ready"])
        yield running_client


def found(client: Client, given: Any) -> list[str]:
    dimension = client.get("/v1/snapshots/current").json()["encoder"]["dimension"]
    reply = client.search(vector=[1.0] * dimension, k=10, filter=given)
    assert reply.status_code == 200, reply.text
    return sorted(hit["id"] for hit in reply.json()["hits"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('brand in "Lee, Inc.",x', ["0"]),
        ({"attribute": "brand", "operator": "in", "value": ["Lee, Inc.", 'a "b"']}, ["0", "1"]),
        ({"attribute": "brand", "value": 'a "b"'}, ["1"]),
        ("brand=null", ["2"]),
        ("brand is null", ["3"]),
        ({"attribute": "brand", "operator": "is not null"}, ["0", "1", "2"]),
        (["day>=2026-01-31", {"attribute": "sizes", "operator": "not in", "value": [38, 40.0]}], ["0"]),
        ("at<=2026-01-31", ["0"]),
        ("at=2026-02-01T10:00+01:00", ["1"]),
        ("sizes is null", ["2", "3"]),
        ({"attribute": "sizes", "operator": ">", "value": 36.5}, ["1"]),
    ],
)
def test_as_text_and_in_parts(client: Client, given: Any, expected: list[str]) -> None:
    assert found(client, given) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"attribute": "brand", "operator": "like", "value": "a"}, "`filter.0` is no condition"),
        ({"attribute": "brand", "values": ["a"]}, "filter.0"),
        ({"operator": "=", "value": "a"}, "filter.0"),
        (7, "`filter` is no condition"),
        ([["brand=a"]], "filter.0"),
        ({"attribute": "brand", "operator": "in", "value": "a"}, "`in` takes a list"),
        ({"attribute": "brand", "operator": "in", "value": []}, "`in` takes a list"),
        ({"attribute": "brand", "value": ["a"]}, "write `in`"),
        ({"attribute": "brand", "value": None}, "`is null` asks"),
        ({"attribute": "brand", "operator": "is null", "value": "a"}, "takes none"),
        ({"attribute": "sizes", "operator": "in", "value": list(range(1001))}, "1,000 at most"),
        ({"attribute": "sizes", "value": "many"}, "'sizes' is of type integer: 'many' cannot be compared"),
        ('brand in "a', "a quote that does not end"),
        ("day=2026-01-31T10:00", "'day' is of type date"),
    ],
)
def test_what_is_wrong_is_told(client: Client, given: Any, said: str) -> None:
    reply = client.search(product_id="0", filter=given)
    assert (reply.status_code, reply.json()["code"]) == (422, "bad_filter"), reply.text
    assert said in reply.json()["detail"]


def test_an_unknown_attribute_in_parts(client: Client) -> None:
    reply = client.search(product_id="0", filter={"attribute": "colour", "value": "red"})
    assert reply.json()["code"] == "unknown_attribute"


def test_facets_of_dates_and_lists(client: Client) -> None:
    facets = client.get("/v1/products", params={"facets": "day,at,sizes,brand"}).json()["facets"]
    assert facets["day"] == {
        "values": {"2025-01-01": 1, "2026-01-31": 1, "2026-02-01": 1}, "others": 0, "missing": 1,
        "min": "2025-01-01", "max": "2026-02-01",
    }  # fmt: skip
    assert facets["at"]["max"] == "2026-02-01T09:00:00+00:00"
    assert facets["at"]["missing"] == 2
    assert facets["sizes"] == {"values": {"36": 2, "38": 1}, "others": 0, "missing": 2, "min": 36, "max": 38}
    assert facets["brand"]["missing"] == 1
    for name in ("day", "at", "sizes"):
        for value, count in facets[name]["values"].items():
            assert len(found(client, f"{name}={value}")) == count


def test_replies_write_dates_as_iso_8601(client: Client) -> None:
    first = client.get("/v1/products/0").json()["attributes"]
    assert first == {"brand": "Lee, Inc.", "day": "2026-01-31", "at": "2026-01-31T09:00:00+00:00", "sizes": [36]}
    kinds = {name: one["type"] for name, one in client.get("/v1/snapshots/current").json()["attributes"].items()}
    assert kinds == {"brand": "string", "day": "date", "at": "timestamp", "sizes": "list of integer"}


ODD: list[dict[str, Any]] = [
    {"made in eu": True, "sold in store": "", "a=b": " x", "size<=m": '"q"', ' "is null ': "y ", "plain": "in"},
    {"made in eu": False, "sold in store": "a, b", "a=b": "x", "size<=m": 'q"', ' "is null ': '" y', "plain": "ä b"},
]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A shop of attributes and values that only quotes tell from the rest of a filter."""
    folder: Path = tmp_path_factory.mktemp("odd")
    publish(folder, ODD)
    with running(create_app(Runtime(make_settings(folder)))) as running_client:
        running_client.wait(lambda state: state["ready"])
        yield running_client


def in_quotes(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def test_every_filter_that_is_offered_can_be_sent_as_text(odd: Client) -> None:
    offered = odd.get("/v1/snapshots/current").json()["attributes"]
    texts = [f"{in_quotes(name)} in {in_quotes(value)}" for name, one in offered.items() for value in one["values"]]
    assert len(texts) == 12
    for text in texts:
        assert odd.get("/v1/products", params={"filter": text}).json()["total"] == 1
        by_form = odd.post("/v1/search", files={"image": ("x", picture(0))}, data={"filter": text})
        similar = [odd.get(f"/v1/products/{one}/similar", params={"filter": text}).json()["hits"] for one in "01"]
        assert [hit["id"] for hit in by_form.json()["hits"]] == [hit["id"] for hits in similar for hit in hits]
        assert found(odd, text) == [hit["id"] for hits in similar for hit in hits]
