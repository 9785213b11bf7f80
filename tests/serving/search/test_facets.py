"""Facets: each value's count is how many products a filter on it finds."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from lookalike.data.snapshots.products import Products
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.search.facets import (
    MAX_BYTES,
    MAX_VALUES,
    Facet,
    count_attributes,
    count_facets,
    count_values,
)
from lookalike.tasks.search.filters import Condition, match_products
from tests.serving.conftest import Serve
from tests.support.catalogues import read_all
from tests.support.shop import Shop, picture


def one_column(values: pa.Array) -> Products:
    names = pa.array([str(row) for row in range(len(values))])
    return Products.of(pa.table({"id": names, "attributes": pa.StructArray.from_arrays([values], names=["n"])}))


def assert_filters_find(products: Products, facet: Facet) -> None:
    for value, count in facet.values.items():
        assert match_products(products, [Condition("n", "=", (value,))]).sum() == count, value


@pytest.mark.parametrize(
    ("lists", "counts", "missing"),
    [
        (pa.array([["red", "red"], ["blue", "red", "blue"], None, [], [None, "", None, ""]]),
         {"red": 2, "": 1, "blue": 1}, 2),
        (pa.array([[1, 1, 2, 1], [2, None], [None, None], [0, 0, None]]), {"2": 2, "0": 1, "1": 1}, 1),
        (pa.array([[0.0, -0.0, 1.5], [float("nan"), 1.5, float("nan")]]), {"1.5": 2, "0.0": 1}, 0),
        (pa.array([[True, False, True], [True]]), {"true": 2, "false": 1}, 0),
        (pa.array([[dt.date(2026, 1, 31)] * 2, [dt.date(2026, 1, 31)]]), {"2026-01-31": 2}, 0),
        (pa.array([list(range(40)) * 2, [7] * 100, [7]]), {"7": 3} | {str(n): 1 for n in range(40) if n != 7}, 0),
    ],
)  # fmt: skip
def test_an_item_that_a_list_repeats_counts_once(lists: pa.Array, counts: dict[str, int], missing: int) -> None:
    products = one_column(lists)
    facet = count_values(products, "n", None)
    assert (facet.values, facet.missing) == (counts, missing)
    assert_filters_find(products, facet)


def test_counts_of_filters_are_kept_and_those_of_hits_are_not() -> None:
    products = one_column(pa.array(["red", "blue", "red", "green"]))
    asked: list[tuple[Condition, ...]] = []

    def match(conditions: tuple[Condition, ...]) -> NDArray[np.bool_]:
        asked.append(conditions)
        return match_products(products, conditions)

    def count(filters: list[str], *, is_of_filters: bool) -> dict[str, int]:
        options = QueryOptions(filter=filters, facets=["n"])
        return count_facets(products, options, match, is_of_filters=is_of_filters)["n"].values

    for _ in range(3):
        assert count(["n=red"], is_of_filters=True) == {"red": 2}
        assert count(["n!=red"], is_of_filters=True) == {"blue": 1, "green": 1}
        assert count([], is_of_filters=True) == {"red": 2, "blue": 1, "green": 1}
    assert len(asked) == 3
    for _ in range(3):
        assert count(["n=red"], is_of_filters=False) == {"red": 2}
    assert len(asked) == 6


def test_days_that_no_calendar_has_are_missing_in_hits_and_facets(shop: Shop, serve: Serve, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    table = {
        "id": ["0", "1", "2"],
        "image": ["0.png", "1.png", "2.png"],
        "day": pa.array([-719_163, 20_000, 2_932_897], pa.date32()),  # the day before the year 1, the one after 9999
        "at": pa.array([-(2**62), 0, 2**62], pa.timestamp("us", "UTC")),
        "days": pa.array([[2**30], [20_000, 2**30], None], pa.list_(pa.date32())),
    }
    pq.write_table(pa.table(table), tmp_path / "shop.parquet")
    shop.point_at(shop.build_rows(read_all(str(tmp_path / "shop.parquet")).products.to_pylist()))
    client = serve()
    client.wait(lambda state: state["ready"])
    found = client.search(product_id="1", k=3, facets=["day", "at", "days"])
    assert found.status_code == 200, found.text
    hits = {hit["id"]: hit["attributes"] for hit in found.json()["hits"]}
    assert hits["0"] == {"day": None, "at": None, "days": [None]}
    assert hits["2"] == {"day": None, "at": None, "days": None}
    day = {"values": {"2024-10-04": 1}, "others": 0, "missing": 2, "min": "2024-10-04", "max": "2024-10-04"}
    facets = found.json()["facets"]
    assert (facets["day"], facets["days"], facets["at"]["missing"]) == (day, day, 2)
    assert client.get("/v1/products", params={"filter": "day is null"}).json()["total"] == 2


def test_long_values_are_counted_and_not_listed() -> None:
    products = one_column(pa.array(["red"] * 3 + [f"{number} ".ljust(200_000, "x") for number in range(12)]))
    facet = count_values(products, "n", None)
    assert (facet.values, facet.others) == ({"red": 3}, 12)
    assert count_attributes(products)["n"].values is None


def test_values_are_bounded_by_bytes_and_not_by_letters() -> None:
    facet = count_values(one_column(pa.array([f"{number:02}" + "漢" * 500 for number in range(50)])), "n", None)
    assert sum(len(value.encode()) for value in facet.values) <= MAX_BYTES
    assert len(facet.values) + facet.others == 50
    assert len(facet.values) == MAX_BYTES // 1502


def test_the_values_of_many_attributes_are_bounded_together() -> None:
    words = pa.array(["x" * 5000 + str(row) for row in range(3)])
    names = [f"a{number}" for number in range(100)]
    columns = pa.StructArray.from_arrays([words] * 100 + [pa.array(["red", "red", "blue"])], names=[*names, "z"])
    attributes = count_attributes(Products.of(pa.table({"id": ["1", "2", "3"], "attributes": columns})))
    listed = [name for name, one in attributes.items() if one.values is not None]
    assert attributes["z"].values == {"red": 2, "blue": 1}
    assert 10 < len(listed) < 20
    assert len(attributes) == 101


def in_shards(shards: list[pa.Array], alive: list[bool] | None = None) -> Products:
    first, tables = 0, []
    for values in shards:
        names = pa.array([str(first + row) for row in range(len(values))])
        attributes = pa.StructArray.from_arrays([values], names=["n"])
        tables.append(pa.table({"id": names, "attributes": attributes}))
        first += len(values)
    return Products.of(*tables, alive=None if alive is None else np.array(alive))


def count_by_hand(values: Sequence[str | list[str] | None], mask: list[bool]) -> dict[str, int]:
    """Count each text once for each row, the most frequent first, then by letters."""
    found: Counter[str] = Counter()
    for value, chosen in zip(values, mask, strict=True):
        if chosen and value is not None:
            found.update({value} if isinstance(value, str) else set(value))
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0].encode())))


@pytest.mark.parametrize("words", [3, 40, 200, 5000])
@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("share", [None, 0.5, 0.01])
def test_texts_of_several_shards_are_counted_as_those_of_one(words: int, shards: int, share: float | None) -> None:
    random = np.random.default_rng(words + shards)
    rows = 600
    values: list[str | None] = [f"wört {number}" for number in random.integers(0, words, rows)]
    for row in range(0, rows, 7):
        values[row] = None
    mask = np.ones(rows, bool) if share is None else random.random(rows) < share
    parts = [pa.array(part.tolist(), pa.string()) for part in np.array_split(np.array(values, object), shards)]
    facet = count_values(in_shards(parts), "n", None if share is None else mask)
    expected = count_by_hand(list(values), mask.tolist())
    assert list(facet.values.items()) == list(expected.items())[: len(facet.values)]
    assert len(facet.values) == min(len(expected), MAX_VALUES)
    assert facet.others == len(expected) - len(facet.values)
    assert facet.missing == sum(value is None for value, chosen in zip(values, mask, strict=True) if chosen)


def test_lists_of_several_shards() -> None:
    shards: list[list[list[str] | None]] = [[["a", "b"], ["b"]], [["c", "b"], None, []], [["a", "c", "c"], ["d"]]]
    parts = [pa.array(shard, pa.list_(pa.string())) for shard in shards]
    values = [value for shard in shards for value in shard]
    for alive in (None, [True, False, True, True, True, True, False]):
        facet = count_values(in_shards(parts, alive), "n", None)
        assert facet.values == count_by_hand(values, alive or [True] * len(values))


def test_a_shard_without_a_text_and_one_without_rows() -> None:
    empty = pa.array([None, None], pa.string())
    facet = count_values(in_shards([pa.array(["b", "a"]), empty, pa.array(["a"])]), "n", None)
    assert (facet.values, facet.missing, facet.others) == ({"a": 2, "b": 1}, 2, 0)
