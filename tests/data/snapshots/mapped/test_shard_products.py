"""Mapped columns against the tables that they were made of."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.data.embeddings import HASH
from lookalike.data.errors import CorruptError, UnknownProductError
from lookalike.data.snapshots.mapped.arrays import Arrays, ArrayWriter
from lookalike.data.snapshots.mapped.shard_products import hash_text, hash_texts, write_columns
from lookalike.data.snapshots.products import Products

DAY, MOMENT = dt.date(2026, 1, 31), dt.datetime(2026, 1, 31, 12, 30, 0, 1, tzinfo=dt.UTC)
KINDS: dict[str, tuple[pa.DataType, Sequence[Any]]] = {
    "brand": (pa.string(), ["", "acme", "ä", "日本"]),
    "text": (pa.large_string(), [f"word {number}" for number in range(400)]),
    "a.b": (pa.int32(), range(-3, 4)),
    "a": (pa.bool_(), [True, False]),
    "price": (pa.decimal128(9, 2), [Decimal("0.35"), Decimal("-1.00")]),
    "weight": (pa.float64(), [-0.0, 0.1, math.nan, math.inf]),
    "day": (pa.date32(), [DAY]),
    "made": (pa.timestamp("ns", "UTC"), [MOMENT]),
    "seen": (pa.timestamp("us"), [MOMENT.replace(tzinfo=None)]),
    "at": (pa.time64("us"), [dt.time(1, 2, 3)]),
    "tags": (pa.list_(pa.string()), [[], ["x"], ["x", None, "y", "x"]]),
    "days": (pa.list_(pa.date32()), [[DAY, None]]),
}


def catalogue(seed: int, rows: int) -> pa.Table:
    """Return products with values of all kinds, some of which are missing, and some of which show the same picture."""
    random = Random(seed)
    arrays = [pa.array(random.choices([None, *values], k=rows), kind) for kind, values in KINDS.values()]
    ids = [f"shoes/{number}" if number % 3 else f"ä {number}{'x' * (number % 50)}" for number in range(rows)]
    shown = [hashlib.sha256(bytes([random.randrange(50)])).digest() for _ in range(rows)]
    random.shuffle(ids)
    return pa.table(
        {
            "id": ids,
            "title": [f"Title of {name}" for name in ids],
            "image": [f"{name}.png" for name in ids],
            "image_version": ["1"] * rows,
            "image_hash": pa.array(sorted(shown) if seed % 2 else shown, HASH),
            "attributes": pa.StructArray.from_arrays(arrays, names=list(KINDS)),
        }
    )


def cut(table: pa.Table, shards: int) -> list[pa.Table]:
    edges = np.linspace(0, table.num_rows, shards + 1, dtype=int).tolist()
    return [table.slice(start, stop - start) for start, stop in pairwise(edges)]


def map_tables(folder: Path, tables: Sequence[pa.Table], alive: Any = None) -> Products:
    for number, table in enumerate(tables):
        pq.write_table(table, folder / f"{number}.parquet", compression="zstd", row_group_size=70)
        write_columns(folder / f"{number}.parquet", folder / f"{number}.columns")
    return Products.open([folder / f"{number}.columns" for number in range(len(tables))], alive)


def same(one: Any, other: Any) -> bool:
    """Compare values of which some are no numbers."""
    return repr(one) == repr(other)


@pytest.mark.parametrize("seed", range(6))
def test_products_are_those_of_the_tables(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    table = catalogue(seed, rows := random.randrange(1, 300))
    alive = np.array([random.random() < 0.8 for _ in range(rows)]) if seed > 1 else None
    opened = map_tables(tmp_path, cut(table, random.randrange(1, 5)), alive)
    expected = table.to_pylist()
    chosen = random.choices(range(rows), k=20)
    assert opened.rows == rows
    for found, row in zip(opened.take(chosen), chosen, strict=True):
        want = expected[row]
        assert (found.id, found.title, found.image) == (want["id"], want["title"], want["image"])
        assert found.image_hash == want["image_hash"].hex()
        assert same(found.attributes, want["attributes"])
    assert same(opened.take(chosen, names=["a.b", "tags"])[0].attributes, {
        name: expected[chosen[0]]["attributes"][name] for name in ("a.b", "tags")
    })  # fmt: skip
    for name in KINDS:
        assert same(opened.values(name, np.array(chosen)), [expected[row]["attributes"][name] for row in chosen])
    for row, product in enumerate(expected):
        if alive is None or alive[row]:
            assert opened.row(product["id"]) == row
        else:
            assert not opened.has(product["id"])
        shown = [other for other in range(rows) if expected[other]["image_hash"] == product["image_hash"]]
        assert opened.rows_of_image(product["image_hash"]).tolist() == shown
    assert sorted(opened.any_id(place) for place in range(len(opened))) == sorted(
        product["id"] for row, product in enumerate(expected) if alive is None or alive[row]
    )
    assert opened.text("title").to_pylist() == table["title"].to_pylist()
    assert opened.texts("title", np.array(chosen)).to_pylist() == [expected[row]["title"] for row in chosen]


def test_a_column_gives_its_values_for_any_rows(tmp_path: Path) -> None:
    table = catalogue(3, 200)
    opened = map_tables(tmp_path, cut(table, 3))
    rows = np.array(Random(0).choices(range(200), k=50))
    for name in ("brand", "text", "a.b", "a", "weight", "price"):
        values, valid = opened.columns[name].take(rows)
        for value, there, want in zip(values, valid, opened.values(name, rows), strict=True):
            assert there == (want is not None and want == want)  # noqa: PLR0124 - NaN is missing
            assert not there or value == (float(want) if name == "price" else want)


def test_shards_without_products_or_attributes_are_no_trouble(tmp_path: Path) -> None:
    whole = catalogue(1, 10)
    assert len(map_tables(tmp_path, [whole.slice(0, 0), whole, whole.slice(0, 0)])) == 10
    bare = Products.of(whole.drop_columns(["attributes"]))
    assert (bare.attributes, dict(bare.columns), bare.take([3])[0].attributes) == ({}, {}, {})
    empty = Products.of(whole.slice(0, 0))
    assert (len(empty), empty.rows, empty.has("x"), empty.rows_of_image(bytes(32)).tolist()) == (0, 0, False, [])
    with pytest.raises(IndexError):
        empty.take([0])
    with pytest.raises(UnknownProductError):
        bare.row("half a character: \ud800")


def test_opening_reads_no_row(tmp_path: Path) -> None:
    rows = 100_000
    values = pa.array([f"{number:060}" for number in range(rows)])
    attributes = pa.StructArray.from_arrays([values, pa.array(range(rows))], names=["text", "n"])
    hashes = pa.array([number.to_bytes(32, "big") for number in range(rows)], HASH)
    ids = pa.array([str(number) for number in range(rows)])
    opened = map_tables(tmp_path, [pa.table({"id": ids, "image_hash": hashes, "attributes": attributes})])
    assert (len(opened), list(opened.columns)) == (rows, ["text", "n"])
    file = tmp_path / "0.columns"
    assert file.stat().st_size > 12 * 2**20
    assert mapped_kilobytes(file) < 1024
    assert int(opened.columns["n"].parts[0].values.sum()) == rows * (rows - 1) // 2  # that is how the rest is read
    assert mapped_kilobytes(file) >= 700


def mapped_kilobytes(file: Path) -> int:
    """Return how much of a mapped file is in this process."""
    found = re.findall(rf"^[0-9a-f].*{re.escape(str(file))}\n(?:[^\n]*\n)*?Rss: +(\d+) kB",
                       Path("/proc/self/smaps").read_text(), re.MULTILINE)  # fmt: skip
    return sum(map(int, found))


@given(st.lists(st.text(), max_size=20), st.integers(0, 3))
def test_equal_texts_have_equal_hashes(texts: list[str], skipped: int) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    hashes = hash_texts(pa.array(texts, pa.string()).slice(skipped)).tolist()
    assert hashes == [hash_text(text.encode()) for text in texts[skipped:]]
    assert len(set(hashes)) == len(set(texts[skipped:]))


def test_a_file_of_arrays_that_is_cut_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "arrays"
    with pa.OSFile(str(file), "wb") as sink:
        writer = ArrayWriter(sink)
        writer.add("numbers", pa.array([1, 2, 3]))
        writer.add("none", pa.array([], pa.string()))
        writer.close()
    found = Arrays.map(file)
    assert {name: array.to_pylist() for name, array in found.items()} == {"numbers": [1, 2, 3], "none": []}
    data = file.read_bytes()
    for damaged in (data[:-1], data[:10], b""):
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(CorruptError):
            Arrays.map(tmp_path / "damaged")
    with pytest.raises(CorruptError, match="cannot be mapped"):
        Arrays.map(tmp_path / "missing")
