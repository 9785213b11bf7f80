"""Tombstones: rows that are there and cannot be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lookalike.data.errors import CorruptError, UnknownProductError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import ShardSection
from lookalike.data.snapshots.products import Products, read_shard_products
from lookalike.data.snapshots.tombstones import alive_rows, to_bytes
from lookalike.data.stores.memory import MemoryStore
from tests.data.snapshots.test_columns import products


def shard(count: int, dead: int) -> ShardSection:
    some = blobs.Blob(sha256="0" * 64, size=1)
    whole = ShardSection.of(some, some, count)
    return whole.model_copy(update={"tombstones": some if dead else None, "dead": dead})


def test_dead_rows_come_back() -> None:
    alive = alive_rows(shard(5, 2), to_bytes(np.array([3, 1, 3])))
    assert alive.tolist() == [True, False, True, False, True]
    assert alive_rows(shard(5, 0), None).all()
    assert shard(5, 2).alive == 3


@pytest.mark.parametrize("rows", [[5], [1], [1, 2, 3]])
def test_tombstones_that_are_not_what_the_manifest_says_are_damage(rows: list[int]) -> None:
    with pytest.raises(CorruptError, match="the manifest promises 2 of 5"):
        alive_rows(shard(5, 2), to_bytes(np.array(rows)))
    with pytest.raises(CorruptError, match="cannot be read"):
        alive_rows(shard(5, 2), b"something")


def test_a_dead_product_is_not_found_and_its_namesake_is() -> None:
    table = products(4)
    alive = np.array([True, False, True, True])
    opened = Products(table, alive)
    assert (len(opened), opened.rows) == (3, 4)
    with pytest.raises(UnknownProductError):
        opened.row("hats/ü-001")
    assert not opened.has("hats/ü-001")
    assert opened.row("hats/ü-002") == 2
    twice = Products(table.take([0, 1, 2, 1]), np.array([True, False, True, True]))
    assert twice.row("hats/ü-001") == 3


def test_only_living_products_are_read_with_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr("lookalike.data.snapshots.products.READ_ROWS", 3)
    store = MemoryStore()
    pq.write_table(products(10), tmp_path / "products")
    whole = ShardSection.of(blobs.put_bytes(store, b"index"), blobs.put_file(store, tmp_path / "products"), 10)
    tombstones = blobs.put_bytes(store, to_bytes(np.array([0, 4, 5, 9])))
    section = whole.model_copy(update={"tombstones": tombstones, "dead": 4})
    found = [(row, name) for table, rows in read_shard_products(store, section)
             for row, name in zip(rows.tolist(), table["id"].to_pylist(), strict=True)]  # fmt: skip
    assert found == [(row, f"hats/ü-{row:03}") for row in (1, 2, 3, 6, 7, 8)]
