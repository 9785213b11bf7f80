"""Deltas: what came or changed takes the columns of the last full build only where nothing is lost by it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from lookalike.tasks.delta import fit_products


def table(**attributes: pa.Array) -> pa.Table:
    ids = [str(number) for number in range(len(next(iter(attributes.values()))))]
    struct = pa.StructArray.from_arrays(list(attributes.values()), list(attributes))
    return pa.table({"id": ids, "attributes": struct})


def fitted(changed: pa.Table, base: pa.Table) -> list[Any] | None:
    found = fit_products(changed, base.schema)
    return None if found is None else found["attributes"].to_pylist()


@pytest.mark.parametrize(
    ("changed", "base"),
    [
        ([7], [True]),
        ([True], [1]),
        ([7], ["S"]),
        (["7"], [7]),
        ([1.5], ["S"]),
        ([2.0], [1]),
        ([2**60 + 1], [1.5]),
        ([date(2026, 1, 2)], [1]),
        ([date(2026, 1, 2)], [datetime(2026, 1, 2)]),
        ([datetime(2026, 1, 2)], [date(2026, 1, 2)]),
        ([1], [datetime(2026, 1, 2)]),
        ([Decimal("0.35")], [0.5]),
        ([0.5], [Decimal("0.35")]),
        ([1], [[1]]),
        ([[1]], [1]),
        ([[1]], [["S"]]),
        ([[]], ["S"]),
    ],
)
def test_a_value_of_another_type_is_never_made_one_of_the_last_full_builds(changed: list[Any], base: list[Any]) -> None:
    assert fitted(table(a=pa.array(changed)), table(a=pa.array(base))) is None


@pytest.mark.parametrize(
    ("changed", "base", "found"),
    [
        (pa.array([7]), pa.array([1.5]), 7.0),
        (pa.array([7], pa.int32()), pa.array([1], pa.int64()), 7),
        (pa.array([0.5], pa.float32()), pa.array([1.5]), 0.5),
        (pa.array([[7]]), pa.array([[1.5]]), [7.0]),
        (pa.array([[]]), pa.array([[1.5]]), []),
        (pa.array(["7"]), pa.array(["S"]), "7"),
        (pa.array([None], pa.string()), pa.array([True]), None),
        (pa.array([None], pa.string()), pa.array([date(2026, 1, 2)]), None),
    ],
)
def test_numbers_that_are_as_exact_and_no_value_at_all_stay_a_delta(
    changed: pa.Array, base: pa.Array, found: Any
) -> None:
    assert fitted(table(a=changed), table(a=base)) == [{"a": found}]


def test_an_attribute_that_the_last_full_build_lacks_is_left_out_only_while_it_has_no_value() -> None:
    base = table(price=pa.array([1]))
    assert fitted(table(sale=pa.array(["yes"]), price=pa.array([2])), base) is None
    assert fitted(table(sale=pa.array([[]]), price=pa.array([2])), base) is None
    assert fitted(table(sale=pa.array([None], pa.string()), price=pa.array([2])), base) == [{"price": 2}]


def test_an_attribute_that_is_gone_has_no_value() -> None:
    assert fitted(table(price=pa.array([2])), table(size=pa.array(["S"]), price=pa.array([1]))) == [
        {"size": None, "price": 2}
    ]
