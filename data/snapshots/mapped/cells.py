"""Cells: single values of an array, and how many bytes they take, without making an array of them.

A hit needs a dozen values. Arrow takes 5 microseconds to look one up in a dictionary and 8 to tell its size. Here both
together take half of one.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.catalogue.types import is_list, is_text
from lookalike.data.snapshots.mapped.columns import view_numbers

_BYTES = 8  # of a number


class Cells(Protocol):
    """The values of an array, by row."""

    def read(self, row: int) -> Any:
        """Return a value as Python has it, None where there is none."""

    def measure(self, row: int) -> int:
        """Return how many bytes a value takes, without reading it."""


def open_cells(array: pa.Array, valid: NDArray[np.bool_] | None = None) -> Cells:
    """Return the cells of an array; `valid` is a mask of the values that are there, where a dictionary lacks some."""
    kind = array.type
    if pa.types.is_dictionary(kind) and (valid is not None or not array.null_count):
        return _Coded(array, valid)
    if is_text(kind) and not array.null_count:
        return _Texts(array)
    if pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return _Numbers(array)
    if pa.types.is_fixed_size_binary(kind) and not array.null_count:
        return _Bytes(array)
    if pa.types.is_boolean(kind):
        return _Flags(array)
    has_edges = is_list(kind) and not pa.types.is_fixed_size_list(kind)
    return _Lists(array) if has_edges else _Plain(array)


# `memoryview` gives numbers of Python, at a third of what numpy takes to make one of its own


class _Texts:
    def __init__(self, array: pa.Array) -> None:
        self._edges = _view_offsets(array, len(array)).data
        self._letters = memoryview(array.buffers()[2] or b"")

    def read(self, row: int) -> str:
        return str(self._letters[self._edges[row] : self._edges[row + 1]], "utf-8")

    def measure(self, row: int) -> int:
        return self._edges[row + 1] - self._edges[row]


class _Coded:
    def __init__(self, array: pa.DictionaryArray, valid: NDArray[np.bool_] | None) -> None:
        self._places = view_numbers(array.indices).data
        self._valid = None if valid is None else valid.data
        self._words = _Texts(array.dictionary)

    def read(self, row: int) -> str | None:
        return self._words.read(self._places[row]) if self._valid is None or self._valid[row] else None

    def measure(self, row: int) -> int:
        return self._words.measure(self._places[row]) if self._valid is None or self._valid[row] else 0


class _Bits:
    """A bit for each row of an array, in one of its buffers."""

    def __init__(self, array: pa.Array, buffer: int) -> None:
        self._bits = memoryview(array.buffers()[buffer] or b"")
        self._start = array.offset

    def __getitem__(self, row: int) -> bool:
        bit = self._start + row
        return bool(self._bits[bit >> 3] >> (bit & 7) & 1)


class _Numbers:
    def __init__(self, array: pa.Array) -> None:
        self._numbers = view_numbers(array).data
        self._present = _present(array)

    def read(self, row: int) -> Any:
        return self._numbers[row] if self._present is None or self._present[row] else None

    def measure(self, row: int) -> int:
        return _BYTES


class _Flags:
    def __init__(self, array: pa.BooleanArray) -> None:
        self._flags = _Bits(array, 1)
        self._present = _present(array)

    def read(self, row: int) -> bool | None:
        return self._flags[row] if self._present is None or self._present[row] else None

    def measure(self, row: int) -> int:
        return _BYTES


class _Bytes:
    def __init__(self, array: pa.FixedSizeBinaryArray) -> None:
        self._width: int = array.type.byte_width
        self._start = array.offset
        self._data = memoryview(array.buffers()[1] or b"")

    def read(self, row: int) -> bytes:
        first = (self._start + row) * self._width
        return bytes(self._data[first : first + self._width])

    def measure(self, row: int) -> int:
        return self._width


class _Plain:
    def __init__(self, array: pa.Array) -> None:
        self._array = array
        has_width = pa.types.is_primitive(array.type) or pa.types.is_fixed_size_binary(array.type)
        self._bytes = max(_BYTES, array.type.bit_width // 8) if has_width else None

    def read(self, row: int) -> Any:
        return self._array[row].as_py()

    def measure(self, row: int) -> int:
        return int(self._array.slice(row, 1).nbytes) if self._bytes is None else self._bytes


class _Lists(_Plain):
    def __init__(self, array: pa.ListArray) -> None:
        super().__init__(array)
        self._edges = _view_offsets(array, len(array)).data
        self._present = _present(array)
        self._items: Cells = open_cells(array.values)
        has_texts = is_text(array.values.type)
        self._letters = _view_offsets(array.values, len(array.values)).data if has_texts else None

    def read(self, row: int) -> list[Any] | None:
        if self._present is not None and not self._present[row]:
            return None
        return [self._items.read(item) for item in range(self._edges[row], self._edges[row + 1])]

    def measure(self, row: int) -> int:
        first, last = self._edges[row], self._edges[row + 1]
        return _BYTES * (last - first) if self._letters is None else self._letters[last] - self._letters[first]


def _present(array: pa.Array) -> _Bits | None:
    """Return which values of an array are there; None where all are."""
    return _Bits(array, 0) if array.null_count else None


def _view_offsets(array: pa.Array, rows: int) -> NDArray[np.integer[Any]]:
    is_large = pa.types.is_large_string(array.type) or pa.types.is_large_list(array.type)
    kind = np.dtype(np.int64 if is_large else np.int32)
    data = array.buffers()[1]
    if data is None or not data.size:
        return np.zeros(rows + 1, kind)
    found: NDArray[np.integer[Any]] = np.frombuffer(data, kind, rows + 1, array.offset * kind.itemsize)
    return found
