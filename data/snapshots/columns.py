"""Columns: attributes as numpy sees them, so that a filter over a million rows takes a millisecond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lookalike.data.catalogue.types import is_list, is_text

_SHORT = 32  # items of a list


@dataclass(frozen=True, slots=True)
class Column:
    """An attribute's values in the order of their rows.

    Attributes:
        kind: of one value, as the snapshot stores it.
        rows: how many products there are.
        values: (n,) numbers or booleans; days and microseconds since 1970 or midnight; for text, places in `words`.
        valid: a mask (n,) of those that are there, None where all are, as they are for lists.
        words: each text once, None for other types.
        owners: for lists the (n,) row that each value belongs to, a value of a row once; None where each row has one.
    """

    kind: pa.DataType
    rows: int
    values: NDArray[Any]
    valid: NDArray[np.bool_] | None
    words: pa.StringArray | None
    owners: NDArray[np.int64] | None

    @classmethod
    def of(cls, array: pa.Array) -> Column:
        """Look at an attribute's values."""
        rows = len(array)
        if not is_list(array.type):
            return cls(array.type, rows, *_values(array), None)
        lengths = np.asarray(pc.list_value_length(array).fill_null(0))
        owners = np.repeat(np.arange(rows, dtype=np.int64), lengths)
        items = array.flatten()
        values, valid, words = _values(items)
        if valid is not None:
            values, owners = values[valid], owners[valid]
        if (again := _repeated(values, owners)).any():
            values, owners = values[~again], owners[~again]
        return cls(items.type, rows, values, None, words, owners)

    def to_rows(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Turn a mask (n,) of values into one (rows,) of the products that have one of them."""
        present = mask if self.valid is None else mask & self.valid
        if self.owners is None:
            return present
        rows = np.zeros(self.rows, bool)
        rows[self.owners[present]] = True
        return rows

    def of_rows(self, mask: NDArray[np.bool_] | None) -> NDArray[Any]:
        """Return the values of the products in a mask (rows,), of all where there is none."""
        chosen = mask if mask is None or self.owners is None else mask[self.owners]
        if chosen is None:
            return self.values if self.valid is None else self.values[self.valid]
        return self.values[chosen if self.valid is None else chosen & self.valid]


def _repeated(values: NDArray[Any], owners: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which values their rows have already."""
    again = np.zeros(len(values), bool)
    for shift in range(1, _SHORT + 1):  # of short lists, looking at each neighbour takes a hundredth of sorting
        same = owners[shift:] == owners[:-shift]
        if not same.any():
            return again
        again[shift:] |= same & (values[shift:] == values[:-shift])
    order = np.lexsort((values, owners))
    same = (np.diff(owners[order]) == 0) & (values[order][1:] == values[order][:-1])
    again[order[1:]] = same
    return again


def _values(array: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_] | None, pa.StringArray | None]:
    valid = np.asarray(array.is_valid()) if array.null_count else None
    if is_text(array.type):
        encoded = array.cast(pa.string()).dictionary_encode()
        return _numpy(encoded.indices), valid, encoded.dictionary
    values = _numpy(_as_numbers(array))
    if values.dtype.kind == "f" and np.isnan(values).any():  # JSON shows no NaN: it is a value that is not there
        there = ~np.isnan(values)
        valid = there if valid is None else valid & there
    return values, valid, None


def _as_numbers(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_decimal(kind):
        return array.cast(pa.large_string()).cast(pa.float64())  # Arrow's own cast makes 0.35000000000000003 of 0.35
    if pa.types.is_date(kind):
        return array.cast(pa.date32()).view(pa.int32())
    if pa.types.is_timestamp(kind):
        return pc.cast(array, options=_truncating(pa.timestamp("us", kind.tz))).view(pa.int64())
    if pa.types.is_time(kind):
        return pc.cast(array, options=_truncating(pa.time64("us"))).view(pa.int64())
    return array


def _truncating(kind: pa.DataType) -> pc.CastOptions:
    return pc.CastOptions(target_type=kind, allow_time_truncate=True)


def _numpy(array: pa.Array) -> NDArray[Any]:
    if array.null_count:
        array = array.fill_null(pa.scalar(0).cast(array.type))
    found: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return found
