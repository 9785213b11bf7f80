"""Orders: rows by their values of one attribute, instead of by closeness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.catalogue.types import type_name
from lookalike.data.errors import InputError
from lookalike.data.snapshots.products import Products

SCORE = "score"
ATTRIBUTE = "attributes."
DIRECTIONS = ("asc", "desc")
REACH = 200
"""Hits that are sorted where nobody says how many: those that people look at, and not what is less and less alike."""
HOW = "write price:asc, price:desc or score"


@dataclass(frozen=True, slots=True)
class Order:
    """By which attribute, None for the score, and in which direction."""

    attribute: str | None
    is_descending: bool

    @property
    def is_best_first(self) -> bool:
        """Whether this is the order that hits have anyway."""
        return self.attribute is None and self.is_descending


def parse_order(text: str) -> Order:
    """Read `price:asc`, `price:desc`, `price`, which ascends, or `score`, which descends.

    An attribute that is called `score`, or as one of these texts, is written `attributes.score:asc`. Raises
    `InputError`.
    """
    name, colon, direction = text.strip().rpartition(":")
    if not colon or direction.strip().lower() not in DIRECTIONS:
        name, direction = text.strip(), ""
    name, direction = name.strip(), direction.strip().lower()
    if not name:
        raise InputError(f"{text[:100]!r} names nothing to sort by: {HOW}")
    if name == SCORE:
        return Order(None, direction != "asc")
    return Order(name.removeprefix(ATTRIBUTE), direction == "desc")


def check_order(order: Order, attributes: Mapping[str, pa.DataType]) -> None:
    """Raise `InputError` for an attribute that has no order that people mean: texts, lists, true and false."""
    if order.attribute is None:
        return
    kind = attributes.get(order.attribute)
    if kind is None:
        known = ", ".join(sorted(attributes)) or "none"
        raise InputError(f"there is no attribute {order.attribute[:100]!r} to sort by; the attributes are: {known}")
    if _has_order(kind):
        return
    raise InputError(
        f"{order.attribute!r} is of type {type_name(kind)}: sort by a number, a date or a time. A column of text that "
        "holds numbers or dates gets a type when the catalogue is indexed, by --columns"
    )


def sort_rows(products: Products, rows: NDArray[np.int64], order: Order, most: int) -> NDArray[np.int64]:
    """Return the places of the first `most` of some rows (n,), those without a value last in either direction.

    Equal ones stay as they were. Raises `KeyError` for an unknown attribute.
    """
    if order.attribute is None:
        places = np.arange(len(rows))
        return (places if order.is_descending else places[::-1])[:most]
    values, there = products.columns[order.attribute].take(rows)
    known = np.flatnonzero(there)
    best = known[_first(_as_keys(values[known], order), most)]
    return np.concatenate([best, np.flatnonzero(~there)])[:most]


def _has_order(kind: pa.DataType) -> bool:
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(is_number or pa.types.is_temporal(kind))


def _as_keys(values: NDArray[Any], order: Order) -> NDArray[Any]:
    """Return numbers that ascend as the order says: `~` turns whole numbers round, the least one too."""
    if not order.is_descending:
        return values
    return -values if values.dtype.kind == "f" else ~values


def _first(keys: NDArray[Any], most: int) -> NDArray[np.int64]:
    """Return the places of the `most` least keys, sorted; without sorting the others, which may be millions."""
    if most >= len(keys):
        return np.argsort(keys, kind="stable")
    edge = np.partition(keys, most)[most]
    places = np.flatnonzero(keys <= edge)
    return places[np.argsort(keys[places], kind="stable")][:most]
