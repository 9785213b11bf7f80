"""Filters: conditions on attributes that select rows before they are ranked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.errors import FilterError
from data.products import Products

_CONDITION = re.compile(
    r"^\s*(?P<name>.+?)\s*(?P<operator><=|>=|!=|=|<|>|\s[iI][nN]\s)\s*(?P<value>.*?)\s*$", re.DOTALL
)
_COMPARE = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: `operator` is `=`, `!=`, `<`, `<=`, `>`, `>=` or `in`; `values` are as they were written."""

    name: str
    operator: str
    values: tuple[str, ...]


def parse(text: str) -> Condition:
    """Read `category=shoes`, `price<=50` or `brand in acme,zeta`. Raises `FilterError`."""
    match = _CONDITION.match(text)
    if not match:
        raise FilterError(f"the filter {text!r} is not understood: write category=shoes, price<=50 or brand in a,b")
    operator = match["operator"].strip().lower()
    values = tuple(value.strip() for value in match["value"].split(",")) if operator == "in" else (match["value"],)
    return Condition(match["name"], operator, values)


def matching(products: Products, conditions: Sequence[Condition]) -> NDArray[np.bool_]:
    """Return a mask (rows,) of the products that can be found and satisfy all conditions.

    A missing value equals nothing and is unequal to everything. A list matches where one of its items does;
    with `!=`, where none does. Raises `FilterError` for an unknown attribute or a value of the wrong type.
    """
    masks = [_mask(products, condition) for condition in conditions]
    alive = np.ones(products.rows, bool) if products.alive is None else products.alive
    return reduce(np.logical_and, masks, alive)


def _mask(products: Products, condition: Condition) -> NDArray[np.bool_]:
    types = products.attributes
    if condition.name not in types:
        known = ", ".join(sorted(types)) or "none"
        raise FilterError(f"there is no attribute {condition.name!r} to filter by; the attributes are: {known}")
    column = products.attribute(condition.name)
    if pa.types.is_list(column.type):
        return _list_mask(column, condition)
    return _scalar_mask(column, condition)


def _scalar_mask(column: pa.Array, condition: Condition) -> NDArray[np.bool_]:
    values = [_value(text, column.type, condition) for text in condition.values]
    if condition.operator == "in":
        mask = reduce(pc.or_, (pc.equal(column, pa.scalar(value)) for value in values))
    else:
        mask = _COMPARE[condition.operator](column, pa.scalar(values[0]))
    return np.asarray(pc.fill_null(mask, condition.operator == "!="))


def _list_mask(column: pa.ListArray, condition: Condition) -> NDArray[np.bool_]:
    positive = Condition(condition.name, "=" if condition.operator == "!=" else condition.operator, condition.values)
    items = _scalar_mask(column.flatten(), positive)
    mask = np.zeros(len(column), bool)
    mask[np.asarray(pc.list_parent_indices(column))[items]] = True
    return ~mask if condition.operator == "!=" else mask


def _value(text: str, kind: pa.DataType, condition: Condition) -> Any:
    try:
        if pa.types.is_boolean(kind):
            return _boolean(text)
        if pa.types.is_integer(kind):
            return _number(text)
        return pa.scalar(text, pa.string()).cast(kind)
    except (ValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise FilterError(f"{condition.name!r} is of type {kind}: {text!r} cannot be compared with it") from error


def _boolean(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


def _number(text: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        return float(text)  # price<=49.90, where all prices happen to be whole
