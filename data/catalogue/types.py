"""Attributes: the columns of a catalogue that products can be filtered by, in the types their values have.

A snapshot holds text, booleans, numbers, dates, times of day, timestamps, and lists of these. What a catalogue writes
in other ways of saying the same (dictionaries, nanoseconds, time zones) is brought to these when it is read.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.errors import CatalogueError

_FIRST_DAY = (date.min - date(1970, 1, 1)).days
_DAYS_END = (date.max - date(1970, 1, 1)).days + 1
_UNITS_OF_A_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000}


def attributes(table: pa.Table, names: list[str]) -> pa.StructArray:
    """Return some columns of a table as one struct. Raises `CatalogueError` for a type that no filter understands."""
    return pa.StructArray.from_arrays([_attribute(name, table[name]) for name in names], names=names)


def type_name(kind: pa.DataType) -> str:  # noqa: PLR0911 - one for each kind
    """Return what people call a type: `string`, `number`, `list of date`, …"""
    if is_list(kind):
        return f"list of {type_name(kind.value_type)}"
    if is_text(kind):
        return "string"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_date(kind):
        return "date"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    return "time" if pa.types.is_time(kind) else str(kind)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether values are text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a product may have several values."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def item_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of one value."""
    return kind.value_type if is_list(kind) else kind


def canonical(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that values of a type are stored in; None for what no filter understands."""
    if is_list(kind):
        item = canonical(kind.value_type)
        return None if item is None or is_list(item) else pa.list_(item)
    if pa.types.is_dictionary(kind):
        return canonical(kind.value_type)
    if pa.types.is_null(kind) or is_text(kind):
        return pa.string()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    return _canonical_plain(kind)


def _canonical_plain(kind: pa.DataType) -> pa.DataType | None:
    if pa.types.is_date(kind):
        return pa.date32()
    if pa.types.is_time(kind):
        return pa.time64("us")
    if pa.types.is_float16(kind):
        return pa.float32()
    plain = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return kind if any(is_kind(kind) for is_kind in plain) else None


def _attribute(name: str, column: pa.ChunkedArray) -> pa.Array:
    kind = canonical(column.type)
    if kind is None:
        raise CatalogueError(
            f"the attribute {name!r} is of type {column.type}: give text, numbers, booleans, dates or lists of these"
        )
    array = column.combine_chunks()
    array = _within_years(pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array)
    if array.type != kind:
        options = pc.CastOptions(target_type=kind, allow_time_truncate=True)  # no clock of a shop needs nanoseconds
        array = pc.cast(array, options=options)
    return array


def _within_years(array: pa.Array) -> pa.Array:
    """Return values without the days and instants that are in no year from 1 to 9999.

    Programs write such for "none" or "never". Neither a filter nor Python has a text for them: they are missing values.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _within_years(array.dictionary_decode())
    if is_list(kind):
        items = array.flatten()
        within = _within_years(items)
        return array if within.null_count == items.null_count else _with_items(array, within)
    per_day = _per_day(kind)
    if per_day is None:
        return array
    since_1970 = array.view(pa.int32() if pa.types.is_date32(kind) else pa.int64())
    known = pc.and_(pc.greater_equal(since_1970, _FIRST_DAY * per_day), pc.less(since_1970, _DAYS_END * per_day))
    return pc.if_else(known, array, pa.scalar(None, kind))


def _per_day(kind: pa.DataType) -> int | None:
    """Return how many units a day has; None for other types, and nanoseconds, which reach from 1677 to 2262."""
    if pa.types.is_date32(kind):
        return 1
    if pa.types.is_date64(kind):
        return _UNITS_OF_A_DAY["ms"]
    return _UNITS_OF_A_DAY.get(kind.unit) if pa.types.is_timestamp(kind) else None


def _with_items(lists: pa.Array, items: pa.Array) -> pa.Array:
    lengths = np.asarray(pc.list_value_length(lists).fill_null(0))
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.ListArray.from_arrays(ends, items, mask=lists.is_null())
