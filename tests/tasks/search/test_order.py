"""Orders: rows by an attribute, as sorting them all by hand does."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lookalike.data.errors import InputError
from lookalike.data.snapshots.products import Products
from lookalike.tasks.search.order import Order, check_order, parse_order, sort_rows

DAYS = [dt.date(2026, 11, 3), None, dt.date(1969, 1, 1), dt.date(2026, 11, 3), dt.date(9999, 12, 31)]
UTC = dt.UTC


def one_column(values: pa.Array) -> Products:
    names = pa.array([str(row) for row in range(len(values))])
    return Products.of(pa.table({"id": names, "attributes": pa.StructArray.from_arrays([values], names=["n"])}))


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("price:asc", Order("price", is_descending=False)),
        (" price : DESC ", Order("price", is_descending=True)),
        ("price", Order("price", is_descending=False)),
        ("score", Order(None, is_descending=True)),
        ("score:desc", Order(None, is_descending=True)),
        ("score:asc", Order(None, is_descending=False)),
        ("attributes.score:desc", Order("score", is_descending=True)),
        ("g:price:asc", Order("g:price", is_descending=False)),
        ("g:price", Order("g:price", is_descending=False)),
        ("price:asc:desc", Order("price:asc", is_descending=True)),
        ("attributes.attributes.x", Order("attributes.x", is_descending=False)),
    ],
)
def test_an_order_is_read(text: str, order: Order) -> None:
    assert parse_order(text) == order


@pytest.mark.parametrize("text", ["", "  ", ":asc", " : desc "])
def test_an_order_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="names nothing to sort by"):
        parse_order(text)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([3, None, -(2**63), 3, 2**63 - 1]),
        pa.array([3, None, 0, 3, 2**64 - 1], pa.uint64()),
        pa.array([0.5, float("nan"), float("-inf"), 0.5, 1e300]),
        pa.array([Decimal("1.10"), None, Decimal("-3.00"), Decimal("1.10"), Decimal("2.00")]),
        pa.array(DAYS),
        pa.array([None if day is None else dt.datetime.combine(day, dt.time(8), UTC) for day in DAYS]),
        pa.array([dt.time(9, 30), None, dt.time(0), dt.time(9, 30), dt.time(23, 59, 59)]),
    ],
    ids=lambda values: str(values.type),
)
@pytest.mark.parametrize("is_descending", [False, True])
def test_every_type_sorts_with_its_missing_values_last(values: pa.Array, *, is_descending: bool) -> None:
    products = one_column(values)
    check_order(Order("n", is_descending), products.attributes)
    places = sort_rows(products, np.arange(5), Order("n", is_descending), 5).tolist()
    assert places == ([4, 0, 3, 2, 1] if is_descending else [2, 0, 3, 4, 1])


@pytest.mark.parametrize("kind", [pa.string(), pa.bool_(), pa.list_(pa.int64()), pa.list_(pa.date32())])
def test_texts_flags_and_lists_have_no_order(kind: pa.DataType) -> None:
    with pytest.raises(InputError, match="sort by a number, a date or a time"):
        check_order(Order("n", is_descending=False), {"n": kind})


@pytest.mark.parametrize("seed", range(20))
def test_the_first_of_many_are_those_of_all_sorted(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 400))
    prices: list[Any] = [None if random.random() < 0.2 else int(random.integers(0, 20)) for _ in range(count)]
    products = one_column(pa.array(prices, pa.int32()))
    rows = random.permutation(count)[: int(random.integers(0, count + 1))]
    for is_descending in (False, True):
        known = [place for place, row in enumerate(rows) if prices[row] is not None]
        known.sort(key=lambda place: -prices[rows[place]] if is_descending else prices[rows[place]])
        wanted = known + [place for place, row in enumerate(rows) if prices[row] is None]
        for most in (0, 1, 7, len(rows), len(rows) + 3):
            found = sort_rows(products, rows, Order("n", is_descending), most)
            assert found.tolist() == wanted[:most]


def test_the_score_sorts_what_is_sorted_by_it() -> None:
    products = one_column(pa.array([1, 2, 3]))
    rows = np.array([2, 0, 1])
    assert sort_rows(products, rows, parse_order("score"), 2).tolist() == [0, 1]
    assert sort_rows(products, rows, parse_order("score:asc"), 2).tolist() == [2, 1]
