"""Columns: an attribute's values as filters, facets and orders read them, a part for each shard.

Text is coded: a number for each row, and each text once. All arrays may be views of a mapped file, so a column costs no
memory but the pages that are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lookalike.data.catalogue.types import is_list, is_text, item_type
from lookalike.data.snapshots.mapped.arrays import Arrays, ArrayWriter
from lookalike.data.snapshots.mapped.pages import read_ahead

_SHORT = 32  # items of a list
_MOST_BYTES = 2**31 - 1  # of the texts in one array with offsets of 32 bits
_CODES = ((2**8, pa.uint8()), (2**16, pa.uint16()), (2**31, pa.int32()))

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ColumnPart:
    """The values of one shard, in the order of its rows.

    Attributes:
        rows: how many rows the shard has.
        values: (n,) numbers or booleans; days and microseconds since 1970 or midnight; for text, places in `words`.
        valid: a mask (n,) of those that are there, None where all are, as they are for lists.
        words: each text once, None for other types.
        owners: for lists the (n,) row that each value belongs to, a value of a row once; None where each row has one.
    """

    rows: int
    values: NDArray[Any]
    valid: Mask | None
    words: pa.StringArray | None
    owners: NDArray[np.int32] | None

    def to_rows(self, mask: Mask) -> Mask:
        """Turn a mask (n,) of values into one (rows,) of the rows that have one of them."""
        present = mask if self.valid is None else mask & self.valid
        if self.owners is None:
            return present
        rows = np.zeros(self.rows, bool)
        rows[self.owners[present]] = True
        return rows

    def of_rows(self, mask: Mask | None) -> NDArray[Any]:
        """Return the values of the rows in a mask (rows,), of all where there is none."""
        chosen = mask if mask is None or self.owners is None else mask[self.owners]
        if chosen is None:
            return self.values if self.valid is None else self.values[self.valid]
        return self.values[chosen if self.valid is None else chosen & self.valid]

    def mark_present(self) -> Mask:
        """Return a mask (rows,) of the rows that have a value."""
        return self.to_rows(np.ones(len(self.values), bool))


class ColumnWords:
    """The texts of all parts of a column, each with one number, by which they can be counted.

    Which words a part shares with those before it is found out once, by looking at each word: a query that counts them
    would take a second for a million. Where all words of a part are new, as those that differ from product to product,
    there is nothing to remember.
    """

    def __init__(self, words: Sequence[pa.StringArray]) -> None:
        size = sum(some.nbytes for some in words)
        self._words = [some.cast(pa.large_string()) for some in words] if size > _MOST_BYTES else list(words)
        self.places: list[slice | NDArray[np.int32]] = []
        """The number of each word of a part, as an index into an array of one for each number."""
        self._firsts: list[NDArray[np.int64] | None] = []
        """Which words of a part are new, None where all are."""
        starts = [0]
        for numbers in self._number():
            first = starts[-1]
            new = np.flatnonzero(numbers >= first)
            is_new = len(new) == len(numbers)
            self.places.append(slice(first, first + len(new)) if is_new else numbers)
            self._firsts.append(None if is_new else new)
            starts.append(first + len(new))
        self._starts = np.array(starts[:-1])
        self._count = starts[-1]

    def __len__(self) -> int:
        return self._count

    def take(self, numbers: NDArray[np.int64]) -> pa.Array:
        """Return the texts that have these numbers."""
        found, order = [pa.array([], self._words[0].type)], [np.empty(0, np.int64)]
        for part, places, local in by_part(numbers, self._starts):
            firsts = self._firsts[part]
            found.append(self._words[part].take(pa.array(local if firsts is None else firsts[local])))
            order.append(places)
        if len(found) <= 2:  # of one part: in the order that is asked for
            return found[-1]
        return pa.concat_arrays(found).take(pa.array(np.argsort(np.concatenate(order))))

    def _number(self) -> Iterator[NDArray[np.int32]]:
        """Yield the numbers of each part's words: they count up from word to word that was not there before."""
        if len(self._words) == 1:
            yield np.arange(len(self._words[0]), dtype=np.int32)
            return
        kind = self._words[0].type
        encoded = pa.chunked_array([some.cast(kind) for some in self._words]).dictionary_encode()
        numbers = np.concatenate([np.empty(0, np.int32), *(chunk.indices.to_numpy() for chunk in encoded.chunks)])
        yield from np.split(numbers, np.cumsum([len(some) for some in self._words[:-1]]))  # empty chunks are left out


@dataclass(frozen=True)
class Column:
    """An attribute of a whole snapshot. `kind` is the type of one value, as the snapshot stores it.

    Row 0 of a part is row `starts[i]` of the snapshot. Each part has words of its own: the same text has another place
    in another part.
    """

    kind: pa.DataType
    parts: Sequence[ColumnPart]
    starts: NDArray[np.int64]

    @cached_property
    def words(self) -> ColumnWords:
        """The words of all parts; for text only."""
        return ColumnWords([part.words for part in self.parts if part.words is not None])

    @property
    def is_text(self) -> bool:
        """Whether values are places in the words of their part."""
        return is_text(self.kind)

    def match(self, select: Callable[[ColumnPart], Mask]) -> Mask:
        """Return a mask (rows,) of the products with a value that `select` marks: it returns a mask (n,) of a part."""
        return _join([part.to_rows(select(part)) for part in self.parts])

    def split(self, mask: Mask | None) -> list[tuple[ColumnPart, Mask | None]]:
        """Pair each part with its rows of a mask (rows,)."""
        edges = zip(self.parts, self.starts.tolist(), strict=False)
        return [(part, None if mask is None else mask[start : start + part.rows]) for part, start in edges]

    def take(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], Mask]:
        """Return the values (n,) of some rows, and a mask of those that are there; for attributes with one value a row.

        Numbers are as `ColumnPart` has them; text is text. Where the mask is not set, a value has no meaning.
        """
        kind = object if self.is_text else self.parts[0].values.dtype
        values, valid = np.zeros(len(rows), kind), np.ones(len(rows), bool)
        for number, places, local in by_part(rows, self.starts):
            part = self.parts[number]
            if part.valid is not None:
                valid[places] = part.valid[local]
            found = part.values[local]
            if part.words is not None and len(part.words):
                found = part.words.take(pa.array(found)).to_numpy(zero_copy_only=False)
            values[places] = found
        return values, valid


def by_part(
    rows: NDArray[np.int64], starts: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the number of each part that has some of the rows (n,), their places among these, and their rows there."""
    numbers = (np.searchsorted(starts, rows, side="right") - 1).astype(np.int16)
    order = np.argsort(numbers, kind="stable")  # of such small numbers this takes a step for each
    edges = np.searchsorted(numbers[order], np.arange(len(starts) + 1)).tolist()
    for number, (first, last) in enumerate(pairwise(edges)):
        if first < last:
            places = order[first:last]
            yield number, places, rows[places] - starts[number]


def _join(masks: Sequence[Mask]) -> Mask:
    return masks[0] if len(masks) == 1 else np.concatenate([np.zeros(0, bool), *masks])


def add_attribute(writer: ArrayWriter, name: str, array: pa.Array) -> None:
    """Write one shard's values of an attribute: as hits show them, and what filters need beside that.

    Filters look at the array itself if it holds numbers, or places of texts, one for each row.
    """
    if is_text(array.type):
        array = _encode(array)
    writer.add(name, array)
    values, valid, owners = _list_values(array) if is_list(array.type) else (*_values(array), None)
    if values is not array:
        writer.add(f"{name}.values", values)
    if valid is not None:
        writer.add(f"{name}.valid", pa.array(valid.view(np.uint8)))
    if owners is not None:
        writer.add(f"{name}.owners", pa.array(owners.astype(np.int32)))


def open_part(arrays: Arrays, name: str, rows: int) -> ColumnPart:
    """Look at what `add_attribute` wrote."""
    values = arrays[f"{name}.values"] if f"{name}.values" in arrays else arrays[name]
    owners = view_numbers(arrays[f"{name}.owners"]) if f"{name}.owners" in arrays else None
    words = values.dictionary if pa.types.is_dictionary(values.type) else None
    numbers = view_numbers(values.indices if words is not None else values)
    if values.type == pa.uint8() and pa.types.is_boolean(item_type(arrays[name].type)):
        numbers = numbers.view(bool)
    valid = open_valid(arrays, name)
    for looked_at in (numbers, valid, owners):
        if looked_at is not None:
            read_ahead(looked_at)
    return ColumnPart(rows, numbers, valid, words, owners)


def open_valid(arrays: Arrays, name: str) -> Mask | None:
    """Return a mask of the values that are there, None where all are."""
    return view_numbers(arrays[f"{name}.valid"]).view(bool) if f"{name}.valid" in arrays else None


def view_numbers(array: pa.Array) -> NDArray[Any]:
    """Return the numbers of an array as numpy sees them, without a copy; they mean nothing where a value is missing."""
    data = array.buffers()[1]
    kind = array.type.to_pandas_dtype() if _is_number(array.type) else f"i{array.type.bit_width // 8}"
    if data is None or not len(array):
        return np.zeros(0, kind)
    found: NDArray[Any] = np.frombuffer(data, kind, len(array), array.offset * np.dtype(kind).itemsize)
    return found


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _encode(array: pa.Array) -> pa.DictionaryArray:
    """Return text as places in the texts that there are, in the smallest numbers; where it is missing, place 0."""
    encoded = array.dictionary_encode()
    if pa.types.is_large_string(array.type) and encoded.dictionary.nbytes < 2**31:
        encoded = encoded.cast(pa.dictionary(pa.int32(), pa.string()))
    kind = next(kind for most, kind in _CODES if len(encoded.dictionary) <= most)
    places = encoded.indices.fill_null(0).cast(kind)
    if array.null_count:
        there = pa.array(np.asarray(array.is_valid())).buffers()[1]
        places = pa.Array.from_buffers(kind, len(array), [there, places.buffers()[1]])
    return pa.DictionaryArray.from_arrays(places, encoded.dictionary, safe=False)


def _values(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    """Return values as `ColumnPart` holds them, the array itself if it does, and a mask of those that are there."""
    valid = np.asarray(array.is_valid()) if array.null_count else None
    if pa.types.is_dictionary(array.type):
        return array, valid
    values = _as_numbers(array)
    if pa.types.is_floating(values.type):
        numbers = values.fill_null(0).to_numpy(zero_copy_only=False)
        if np.isnan(numbers).any():  # JSON shows no NaN: it is a value that is not there
            there = ~np.isnan(numbers)
            valid = there if valid is None else valid & there
    return values, valid


def _list_values(array: pa.Array) -> tuple[pa.Array, None, NDArray[np.int64]]:
    lengths = np.asarray(pc.list_value_length(array).fill_null(0))
    owners = np.repeat(np.arange(len(array), dtype=np.int64), lengths)
    items = array.flatten()
    values, valid = _values(_encode(items) if is_text(items.type) else items)
    kept = np.ones(len(owners), bool) if valid is None else valid.copy()
    compared = view_numbers(values.indices if pa.types.is_dictionary(values.type) else values)
    places = np.flatnonzero(kept)
    kept[places[_find_repeated(compared[kept], owners[kept])]] = False
    if kept.all():
        return values, None, owners
    return values.take(pa.array(np.flatnonzero(kept))), None, owners[kept]


def _find_repeated(values: NDArray[Any], owners: NDArray[np.int64]) -> NDArray[np.bool_]:
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


def _as_numbers(array: pa.Array) -> pa.Array:
    """Return an array that `view_numbers` can look at: booleans as bytes, dates and times as whole numbers."""
    kind = array.type
    if pa.types.is_boolean(kind):
        return array.cast(pa.uint8())
    if pa.types.is_decimal(kind):
        return array.cast(pa.large_string()).cast(pa.float64())  # Arrow's own cast makes 0.35000000000000003 of 0.35
    if pa.types.is_date64(kind):
        return array.cast(pa.date32())
    if pa.types.is_timestamp(kind) and kind.unit != "us":
        return pc.cast(array, options=_truncating(pa.timestamp("us", kind.tz)))
    if pa.types.is_time(kind) and kind != pa.time64("us"):
        return pc.cast(array, options=_truncating(pa.time64("us")))
    return array


def _truncating(kind: pa.DataType) -> pc.CastOptions:
    return pc.CastOptions(target_type=kind, allow_time_truncate=True)
