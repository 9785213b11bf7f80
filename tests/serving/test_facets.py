"""Facets: each value's count is how many products a filter on it finds."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from data.products import Products
from serving.facets import Facet, count_values
from tasks.indexing.filters import Condition, matching


def one_column(values: pa.Array) -> Products:
    names = pa.array([str(row) for row in range(len(values))])
    return Products(pa.table({"id": names, "attributes": pa.StructArray.from_arrays([values], names=["n"])}))


def assert_filters_find(products: Products, facet: Facet) -> None:
    for value, count in facet.values.items():
        assert matching(products, [Condition("n", "=", (value,))]).sum() == count, value


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
