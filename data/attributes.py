"""Attributes: the columns of a catalogue that products can be filtered by, in the types their values have."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from data.errors import CatalogueError

# tried in this order; a type is taken where every value of the column is written as one of it
_WRITTEN_AS = (
    (pa.int64(), r"^[+-]?(0|[1-9]\d{0,17})$"),  # not 007: what has leading zeros is a code, not a number
    (pa.float64(), r"^[+-]?(0|[1-9]\d*)?(\.\d*)?([eE][+-]?\d+)?$"),
    (pa.bool_(), r"^(true|false|True|False|TRUE|FALSE)$"),
    (pa.date32(), r"^\d{4}-\d{2}-\d{2}$"),
    (pa.timestamp("us"), r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?$"),
)


def attributes(table: pa.Table, names: list[str]) -> pa.StructArray:
    """Return some columns of a table as one struct. Raises `CatalogueError` for a type that no filter understands."""
    return pa.StructArray.from_arrays([_attribute(name, table[name]) for name in names], names=names)


class TextTypes:
    """The types that columns of text are written in, found batch by batch: one that every value is written as."""

    def __init__(self) -> None:
        self._candidates: dict[str, list[tuple[pa.DataType, str]]] = {}
        self._filled: set[str] = set()

    def narrow(self, name: str, column: pa.ChunkedArray) -> None:
        """Drop the types that a value of this batch is not written as."""
        candidates = self._candidates.setdefault(name, list(_WRITTEN_AS))
        self._candidates[name] = [candidate for candidate in candidates if _is_written_as(column, *candidate)]
        if column.null_count < len(column):
            self._filled.add(name)

    def apply(self, table: pa.Table) -> pa.Table:
        """Return a batch with its columns in the types found; one without any value stays text."""
        for place, name in enumerate(table.column_names):
            if name in self._filled and self._candidates[name]:
                table = table.set_column(place, name, table.column(place).cast(self._candidates[name][0][0]))
        return table


def _is_written_as(column: pa.ChunkedArray, kind: pa.DataType, pattern: str) -> bool:
    if not pc.all(pc.match_substring_regex(column, pattern)).as_py():
        return False
    try:
        column.cast(kind)
    except pa.ArrowInvalid:  # looks like one and is none: 2026-02-31
        return False
    return True


def _attribute(name: str, column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.string())
    if not _can_be_filtered(column.type):
        raise CatalogueError(
            f"the attribute {name!r} is of type {column.type}: give text, numbers, booleans, dates or lists of text"
        )
    array = column.combine_chunks()
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array


def _can_be_filtered(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
        return not pa.types.is_nested(kind) and _can_be_filtered(kind)
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
