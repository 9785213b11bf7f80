"""Facets: how many products have which value of an attribute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.products import Products

MAX_VALUES = 50  # more than these, and a list of them helps nobody


@dataclass(frozen=True, slots=True)
class Facet:
    """The most frequent values with their counts, most frequent first, and how many other values there are."""

    values: dict[str, int]
    others: int


def count_values(products: Products, name: str, mask: NDArray[np.bool_] | None) -> Facet:
    """Count an attribute's values among the rows of a mask (rows,), all that can be found where there is none.

    A list counts for each of its items; a missing value for nothing. Raises `KeyError`.
    """
    column = products.attribute(name)
    chosen = products.alive if mask is None else mask
    if chosen is not None:
        column = column.filter(pa.array(chosen))
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = column.flatten()
    if pa.types.is_floating(column.type):
        column = column.filter(pc.is_finite(column))
    counts: list[dict[str, Any]] = pc.value_counts(column.drop_null()).to_pylist()
    counts.sort(key=lambda entry: (-entry["counts"], str(entry["values"])))
    return Facet({_text(entry["values"]): entry["counts"] for entry in counts[:MAX_VALUES]}, len(counts[MAX_VALUES:]))


def _text(value: Any) -> str:
    """As a filter would write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
