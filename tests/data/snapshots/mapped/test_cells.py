"""Cells: each value as Arrow has it, of arrays that begin in the middle, too."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lookalike.data.snapshots.mapped.cells import open_cells

COLUMNS: dict[str, pa.Array] = {
    "texts": pa.array(["", "a", "ä€😀", "b" * 300]),
    "long texts": pa.array(["", "a", "ä"], pa.large_string()),
    "texts with nulls": pa.array(["a", None, "b"]),
    "small integers": pa.array([-128, 0, 127], pa.int8()),
    "unsigned": pa.array([0, 2**64 - 1], pa.uint64()),
    "integers": pa.array([2**62, -(2**62), 0, 7]),
    "integers with nulls": pa.array([None if n % 3 == 0 else n for n in range(40)]),
    "floats": pa.array([0.1, -1e300, float("inf")]),
    "short floats": pa.array([0.1, 2.5], pa.float32()),
    "half floats": pa.array(np.array([0.5, 2.5], np.float16)),
    "floats with nulls": pa.array([None if n % 2 else n / 3 for n in range(19)]),
    "booleans": pa.array([True, False, None]),
    "dates": pa.array([datetime.date(2020, 1, 2), None]),
    "hashes": pa.array([bytes(range(32)), bytes(32)], pa.binary(32)),
    "hashes with nulls": pa.array([None, bytes(32)], pa.binary(32)),
    "lists": pa.array([["a", "b"], [], None, ["c"]]),
    "lists of numbers": pa.array([[1.5], [], [2.5, 3.5]]),
    "lists with nulls": pa.array([["a", None], [None], [], ["b"]]),
    "lists of numbers with nulls": pa.array([[1, None], None, [None, 2, 3]]),
    "lists of flags": pa.array([[True, None, False], [], None, [True]]),
    "lists of dates": pa.array([[datetime.date(2020, 1, 2)], [None], []]),
    "lists of lists": pa.array([[["a"], None, []], [], [["b", "c"]]]),
    "lists of objects": pa.array([[{"a": 1, "b": None}], [], None]),
    "lists of words": pa.array([["a", "b"], [None, "a"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    "long lists": pa.array([["a"], [], None], pa.large_list(pa.string())),
    "lists of one length": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)),
    "flags": pa.array([n % 3 == 0 for n in range(19)]),
    "flags with nulls": pa.array([None if n % 5 == 0 else n % 3 == 0 for n in range(19)]),
    "nothing": pa.array([], pa.int64()),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("skipped", [0, 1])
def test_reads_what_arrow_reads(column: pa.Array, skipped: int) -> None:
    array = column.slice(skipped)
    cells = open_cells(array)
    found = [cells.read(row) for row in range(len(array))]
    assert found == array.to_pylist()
    assert [type(value) for value in found] == [type(value) for value in array.to_pylist()]
    assert all(isinstance(cells.measure(row), int) for row in range(len(array)))


@pytest.mark.parametrize("words", [3, 300, 70_000])
def test_reads_texts_by_their_place(words: int) -> None:
    texts = pa.array([f"word {number}" for number in range(words)]).dictionary_encode()
    valid = np.ones(words, bool)
    valid[1] = False
    cells = open_cells(texts, valid)
    assert [cells.read(row) for row in (0, 1, words - 1)] == ["word 0", None, f"word {words - 1}"]
    assert [cells.measure(row) for row in (0, 1)] == [6, 0]


def test_measures_texts_by_their_bytes() -> None:
    cells: Any = open_cells(pa.array(["", "ä", "abc"]))
    assert [cells.measure(row) for row in range(3)] == [0, 2, 3]
