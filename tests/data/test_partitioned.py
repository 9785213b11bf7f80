"""Spills: every row comes back in its bucket, in the order in which it came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from lookalike.data.partitioned import BUCKETS, PartitionedTable, hash_buckets, id_buckets, regroup


def test_rows_come_back_in_their_buckets(tmp_path: Path) -> None:
    spill = PartitionedTable(tmp_path / "spill")
    random = np.random.default_rng(0)
    expected: dict[int, list[str]] = {}
    for batch in range(5):
        buckets = random.integers(0, BUCKETS - 1, 300)  # none in the last one
        names = [f"ü {batch} {row}" for row in range(300)]
        spill.add(pa.table({"name": names, "tags": [["a", None]] * 300}), buckets)
        for name, bucket in zip(names, buckets.tolist(), strict=True):
            expected.setdefault(bucket, []).append(name)
    assert spill.rows == 1500
    for bucket, names in expected.items():
        table = spill.read(bucket)
        assert table is not None
        assert table["name"].to_pylist() == names
        assert table["tags"][0].as_py() == ["a", None]
    assert spill.read(BUCKETS - 1) is None
    assert sum(table.num_rows for table in spill.tables()) == 1500


def test_an_empty_spill(tmp_path: Path) -> None:
    spill = PartitionedTable(tmp_path / "spill")
    spill.add(pa.table({"name": pa.array([], pa.string())}), np.empty(0, np.int64))
    assert list(spill.tables()) == []


def test_buckets_of_ids_and_hashes() -> None:
    ids = [f"ü{number}" for number in range(5000)]
    buckets = id_buckets(ids)
    assert set(buckets.tolist()) == set(range(BUCKETS))
    assert (id_buckets(ids) == buckets).all()
    edges = hash_buckets(np.array([0, 2**26 - 1, 2**26, 2**32 - 1], np.uint32))
    assert edges.tolist() == [0, 0, 1, BUCKETS - 1]


def test_tables_are_cut_and_joined_by_rows_and_by_weight() -> None:
    tables = [
        pa.table({"n": pa.array(range(start, stop), pa.int64())}) for start, stop in ((0, 3), (3, 3), (3, 4), (4, 14))
    ]
    assert [part["n"].to_pylist() for part in regroup(tables, 4)] == [
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13],
    ]  # fmt: skip

    def heavy(table: pa.Table) -> list[int]:
        return [50 if number == 5 else 1 for number in table["n"].to_pylist()]

    parts = [part["n"].to_pylist() for part in regroup(tables, 10, weigh=heavy, most_weight=8)]
    assert parts == [[0, 1, 2, 3, 4], [5], [6, 7, 8, 9, 10, 11, 12, 13]]
    assert list(regroup([], 4)) == []
