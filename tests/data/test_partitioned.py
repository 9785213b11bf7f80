"""Spills: every row comes back in its bucket, in the order in which it came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from lookalike.data.partitioned import BUCKETS, PartitionedTable


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
