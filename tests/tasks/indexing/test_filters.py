"""Filters against plain Python, on every type of attribute."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from data.errors import FilterError
from data.products import Products
from tasks.indexing.filters import Condition, matching, parse

ROWS: list[dict[str, object]] = [
    {"category": "shoes", "price": 49.9, "stock": 3, "new": True, "tags": ["a", "b"], "since": dt.date(2026, 1, 1)},
    {"category": "shoes", "price": 120.0, "stock": 0, "new": False, "tags": [], "since": dt.date(2026, 6, 1)},
    {"category": "hats, caps", "price": 15.0, "stock": 9, "new": None, "tags": ["b"], "since": None},
    {"category": None, "price": None, "stock": None, "new": True, "tags": None, "since": dt.date(2025, 1, 1)},
]


@pytest.fixture(scope="module")
def products() -> Products:
    schema = pa.struct(
        [
            ("category", pa.string()),
            ("price", pa.float64()),
            ("stock", pa.int64()),
            ("new", pa.bool_()),
            ("tags", pa.list_(pa.string())),
            ("since", pa.date32()),
        ]
    )
    count = len(ROWS)
    return Products(
        pa.table(
            {
                "id": [str(i) for i in range(count)],
                "title": [""] * count,
                "image": [""] * count,
                "image_version": [""] * count,
                "image_hash": pa.array([bytes(32)] * count, pa.binary(32)),
                "attributes": pa.array(ROWS, schema),
            }
        )
    )


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        (["category=shoes"], [0, 1]),
        (["category!=shoes"], [2, 3]),
        (["category in shoes,boots"], [0, 1]),
        (["category=hats, caps"], [2]),
        (["price<=49.9"], [0, 2]),
        (["price>49.9"], [1]),
        (["price < 120", "category=shoes"], [0]),
        (["stock>=3"], [0, 2]),
        (["stock<=2.5"], [1]),
        (["stock in 0,9"], [1, 2]),
        (["new=true"], [0, 3]),
        (["new!=true"], [1, 2]),
        (["tags=b"], [0, 2]),
        (["tags!=b"], [1, 3]),
        (["tags in a,c"], [0]),
        (["since>=2026-01-01"], [0, 1]),
        (["since=2025-01-01"], [3]),
        (["category=shoes", "category=hats"], []),
        ([], [0, 1, 2, 3]),
    ],
)
def test_selects_the_rows_that_satisfy_all_conditions(products: Products, filters: list[str], rows: list[int]) -> None:
    assert matching(products, [parse(text) for text in filters]).nonzero()[0].tolist() == rows


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("a=b=c", Condition("a", "=", ("b=c",))),
        ("  a  <=  3 ", Condition("a", "<=", ("3",))),
        ("a IN x, y", Condition("a", "in", ("x", "y"))),
        ("a=", Condition("a", "=", ("",))),
        ("Größe cm>=4", Condition("Größe cm", ">=", ("4",))),
    ],
)
def test_reads_conditions(text: str, condition: Condition) -> None:
    assert parse(text) == condition


@pytest.mark.parametrize("text", ["", "shoes", "=shoes", "category", "category ~ shoes"])
def test_says_how_to_write_a_filter(text: str) -> None:
    with pytest.raises(FilterError, match="category=shoes"):
        parse(text)


def test_names_the_attributes_there_are(products: Products) -> None:
    with pytest.raises(FilterError, match=r"no attribute 'colour'.*category, new, price"):
        matching(products, [parse("colour=red")])


@pytest.mark.parametrize("text", ["price=cheap", "stock<few", "new=maybe", "since>soon"])
def test_refuses_a_value_of_the_wrong_type(products: Products, text: str) -> None:
    with pytest.raises(FilterError, match="cannot be compared"):
        matching(products, [parse(text)])
