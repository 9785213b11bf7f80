"""What is stored as Parquet: embeddings, normalised catalogues, products and their tombstones, rejects."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.data.catalogue.normalised import LocalCatalogue, read_catalogue_range
from lookalike.data.catalogue.rejects import Reject, RejectLog, read_rejects, store_rejects
from lookalike.data.embeddings import Embeddings, position
from lookalike.data.errors import CorruptError, NotFoundError, UnknownProductError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import ShardSection
from lookalike.data.snapshots.mapped.shard_products import write_columns
from lookalike.data.snapshots.products import (
    BASE_FIELDS,
    Products,
    alive_rows,
    read_shard_products,
    tombstones_to_bytes,
)
from lookalike.data.stores.memory import MemoryStore


def hash_of(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def products(count: int) -> pa.Table:
    ids = [f"hats/ü-{number:03}" for number in range(count)]
    base = {
        "id": ids, "title": ids, "image": ids, "image_version": ids, "image_hash": [hash_of(name) for name in ids],
    }  # fmt: skip
    table = pa.table(base, schema=pa.schema(BASE_FIELDS))
    return table.append_column("attributes", pa.array([{"n": number} for number in range(count)]))


def local(folder: Path, table: pa.Table) -> LocalCatalogue:
    """Return a catalogue of these products, given in four ranges of hashes."""
    quarters = np.array([position(image_hash) >> 30 for image_hash in table["image_hash"].to_pylist()])
    return LocalCatalogue(folder, (table.filter(pa.array(quarters == quarter)) for quarter in range(4)))


class TestEmbeddings:
    def test_vectors_come_back_by_their_hash(self) -> None:
        store = MemoryStore()
        embeddings = Embeddings(store, "f1")
        hashes = [hash_of(number) for number in range(100)]
        vectors = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
        for start in (0, 40):
            embeddings.write(hashes[start : start + 60], vectors[start : start + 60])  # 20 are in both
        found, read = embeddings.read()
        assert [bytes(value) for value in found] == sorted(hashes)
        order = sorted(range(100), key=hashes.__getitem__)
        np.testing.assert_array_equal(read, vectors[order].astype(np.float16))
        assert {bytes(one) for column in embeddings.hash_columns() for one in column} == set(hashes)
        assert list(Embeddings(store, "f2").hash_columns()) == []
        assert Embeddings(store, "f2").read()[0].size == 0

    def test_a_range_reads_only_what_overlaps(self) -> None:
        embeddings = Embeddings(MemoryStore(), "f1")
        hashes = sorted(hash_of(number) for number in range(100))
        vectors = np.zeros((100, 4), np.float32)
        embeddings.write(hashes[:50], vectors[:50])
        embeddings.write(hashes[50:], vectors[50:])
        start, stop = position(hashes[20]), position(hashes[70])
        assert [bytes(value) for value in embeddings.read(start, stop)[0]] == hashes[20:70]

    def test_writing_the_same_partition_again_changes_nothing(self) -> None:
        store = MemoryStore()
        embeddings = Embeddings(store, "f1")
        for _ in range(2):
            embeddings.write([hash_of(1), hash_of(2)], np.ones((2, 4), np.float32))
        assert len(list(store.list(""))) == 1

    def test_vectors_are_looked_up_by_their_hash(self) -> None:
        embeddings = Embeddings(MemoryStore(), "f1")
        hashes = sorted(hash_of(number) for number in range(100))
        vectors = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
        for part in (slice(0, 50), slice(50, 100), slice(10, 90)):
            embeddings.write(hashes[part], vectors[part])
        wanted = [77, 3, 3, 50]
        found = embeddings.lookup(np.array([hashes[number] for number in wanted], "V32"))
        np.testing.assert_array_equal(found, vectors[wanted].astype(np.float16))
        with pytest.raises(CorruptError, match="run again to embed them"):
            embeddings.lookup(np.array([hashes[0], hash_of("another")], "V32"))


class TestCatalogues:
    def test_the_id_says_the_products_and_not_their_order(self, tmp_path: Path) -> None:
        table = products(10)
        assert local(tmp_path, table).id == local(tmp_path, table.take(list(reversed(range(10))))).id
        assert local(tmp_path, table).id != local(tmp_path, products(9)).id
        renamed = table.set_column(1, "title", pa.array(["x"] * 10))
        assert local(tmp_path, table).id != local(tmp_path, renamed).id

    def test_ranges_cover_all_products_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lookalike.data.catalogue.normalised.PRODUCTS_PER_FILE", 7)
        store, table = MemoryStore(), products(50)
        written = local(tmp_path, table)
        for _ in range(2):
            written.store(store)
        assert written.products == 50
        assert len(list(store.list(f"catalogues/{written.id}/"))) > 3
        halves = [read_catalogue_range(store, written.id, 0, 2**31), read_catalogue_range(store, written.id, 2**31)]
        assert sorted(pa.concat_tables(halves)["id"].to_pylist()) == table["id"].to_pylist()
        assert read_catalogue_range(store, written.id, 0, 0).num_rows == 0
        with pytest.raises(NotFoundError):
            read_catalogue_range(store, "0123456789abcdef")


class TestProducts:
    def test_products_are_found_by_row_and_by_id(self) -> None:
        opened = Products.of(products(20).take(list(reversed(range(20)))))
        assert len(opened) == 20
        assert opened.row("hats/ü-019") == 0
        (product,) = opened.take([1])
        assert (product.id, product.attributes, product.image_hash) == (
            "hats/ü-018", {"n": 18}, hash_of("hats/ü-018").hex(),
        )  # fmt: skip
        assert opened.columns["n"].parts[0].values.tolist() == list(reversed(range(20)))
        for missing in ("", "hats", "zzz"):
            with pytest.raises(UnknownProductError):
                opened.row(missing)

    def test_damage_is_told(self, tmp_path: Path) -> None:
        good, bad, columns = (tmp_path / name for name in ("good.parquet", "bad.parquet", "columns"))
        pq.write_table(products(5), good)
        write_columns(good, columns)
        assert len(Products.open([columns, columns])) == 10
        bad.write_bytes(good.read_bytes()[:-10])
        with pytest.raises(CorruptError):
            write_columns(bad, tmp_path / "other")
        pq.write_table(products(5).drop_columns(["id"]), bad)
        with pytest.raises(CorruptError):
            write_columns(bad, tmp_path / "other")
        with pytest.raises(CorruptError, match="different attributes"):
            Products.of(products(5), products(5).drop_columns(["attributes"]))


def test_rejects_come_back(tmp_path: Path) -> None:
    store = MemoryStore()
    rejects = [Reject("ü/1", "a.png", "decode", "truncated", "the file ends too early", "12-34")] * 3
    logs = [RejectLog(tmp_path / name) for name in "ab"]
    logs[0].extend(rejects[:1])
    logs[1].extend(rejects[1:])
    assert (logs[1].total, logs[1].counts["truncated"], logs[1].first) == (2, 2, rejects[1:])
    for _ in range(2):  # a stage that ran twice
        assert read_rejects(store, store_rejects(store, "run-1", logs, tmp_path)) == rejects
    assert read_rejects(store, store_rejects(store, "run-2", [], tmp_path)) == []


def shard(count: int, dead: int) -> ShardSection:
    some = blobs.Blob(sha256="0" * 64, size=1)
    whole = ShardSection.of(some, some, count)
    return whole.model_copy(update={"tombstones": some if dead else None, "dead": dead})


def test_dead_rows_come_back() -> None:
    alive = alive_rows(shard(5, 2), tombstones_to_bytes(np.array([3, 1, 3])))
    assert alive.tolist() == [True, False, True, False, True]
    assert alive_rows(shard(5, 0), None).all()
    assert shard(5, 2).alive == 3


@pytest.mark.parametrize("rows", [[5], [1], [1, 2, 3]])
def test_tombstones_that_are_not_what_the_manifest_says_are_damage(rows: list[int]) -> None:
    with pytest.raises(CorruptError, match="the manifest promises 2 of 5"):
        alive_rows(shard(5, 2), tombstones_to_bytes(np.array(rows)))
    with pytest.raises(CorruptError, match="cannot be read"):
        alive_rows(shard(5, 2), b"something")


def test_a_dead_product_is_not_found_and_its_namesake_is() -> None:
    table = products(4)
    alive = np.array([True, False, True, True])
    opened = Products.of(table, alive=alive)
    assert (len(opened), opened.rows) == (3, 4)
    with pytest.raises(UnknownProductError):
        opened.row("hats/ü-001")
    assert not opened.has("hats/ü-001")
    assert opened.row("hats/ü-002") == 2
    twice = Products.of(table.take([0, 1, 2, 1]), alive=np.array([True, False, True, True]))
    assert twice.row("hats/ü-001") == 3


def test_only_living_products_are_read_with_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.data.snapshots.products.READ_ROWS", 3)
    store = MemoryStore()
    pq.write_table(products(10), tmp_path / "products")
    whole = ShardSection.of(blobs.put_bytes(store, b"index"), blobs.put_file(store, tmp_path / "products"), 10)
    tombstones = blobs.put_bytes(store, tombstones_to_bytes(np.array([0, 4, 5, 9])))
    section = whole.model_copy(update={"tombstones": tombstones, "dead": 4})
    found = [(row, name) for table, rows in read_shard_products(store, section)
             for row, name in zip(rows.tolist(), table["id"].to_pylist(), strict=True)]  # fmt: skip
    assert found == [(row, f"hats/ü-{row:03}") for row in (1, 2, 3, 6, 7, 8)]
