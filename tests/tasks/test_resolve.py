"""Resolving: products whose picture has no vector are left out with a reason, and each change is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lookalike.data.catalogue.rejects import RejectLog, read_rejects, store_rejects
from lookalike.data.embeddings import HASH, hash_array, positions
from lookalike.data.errors import CatalogueError
from lookalike.data.partitioned import PartitionedTable, hash_buckets
from lookalike.data.stores.memory import MemoryStore
from lookalike.tasks.embed.pipeline import Reject
from lookalike.tasks.embed.work import EmbedResult
from lookalike.tasks.published import Published
from lookalike.tasks.resolve import SAMPLES, Changes, resolve_catalogue, resolve_delta
from lookalike.tasks.scan.join import ADDED, NOWHERE, PICTURE, TEXT
from lookalike.tasks.scan.scan import ScanResult

STRINGS = ("id", "image", "image_version", "title", "old_version")
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in STRINGS),
        ("image_hash", HASH),
        ("old_hash", HASH),
        ("place", pa.int64()),
        ("text_moved", pa.bool_()),
    ]
)


def hash_of(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def product(name: str, picture: str, *, place: int = NOWHERE, old: str | None = None, text: bool = False) -> Any:
    """Return a product that shows a picture, at a place of the published snapshot where it showed another one."""
    return {
        "id": name, "image": f"{picture}.png", "image_version": "1", "title": name, "old_version": None,
        "image_hash": hash_of(picture), "old_hash": old and hash_of(old), "place": place, "text_moved": text,
    }  # fmt: skip


class Desk:
    """A scan that found some products, and what embedding them came to."""

    def __init__(self, folder: Path, *products: Any) -> None:
        self.folder = folder
        self.scanned = ScanResult(
            Published(), PartitionedTable(folder / "products"), RejectLog(folder / "scan.parquet"), []
        )
        table = pa.Table.from_pylist(list(products), schema=SCHEMA)
        self.scanned.products.add(table, hash_buckets(positions(hash_array(table["image_hash"]))))
        self.embedded = EmbedResult(PartitionedTable(folder / "rejected"))
        self.rejects = RejectLog(folder / "embed.parquet")

    def reject(self, picture: str, stage: Any = "decode") -> None:
        self.embedded.add(0, [Reject(hash_of(picture).hex(), f"{picture}.png", stage, "damaged", "it is damaged")])

    def lose(self, name: str, place: int) -> None:
        self.scanned.gone.append(pa.table({"id": [name], "place": pa.array([place], pa.int64())}))


def test_a_delta_is_what_came_or_changed_and_the_places_of_what_it_replaces(tmp_path: Path) -> None:
    desk = Desk(
        tmp_path,
        product("new", "a"),
        product("redrawn", "b", place=7, old="c"),
        product("renamed", "d", place=8, old="d", text=True),
        product("broken", "e", place=9, old="f"),
    )
    desk.reject("e")
    desk.lose("gone", 10)
    resolved = resolve_delta(desk.scanned, desk.embedded, rejects=desk.rejects)
    assert resolved.products is not None
    assert set(resolved.products["id"].to_pylist()) == {"new", "redrawn", "renamed"}
    assert not {"place", "old_hash", "old_version", "text_moved"} & set(resolved.products.column_names)
    assert sorted(resolved.dead.tolist()) == [7, 8, 9, 10]
    assert resolved.changes.counts == {ADDED: 1, PICTURE: 1, TEXT: 1}
    assert (resolved.changes.removed, set(resolved.changes.removed_sample)) == (2, {"gone", "broken"})
    assert (resolved.changes.total, resolved.pictures, resolved.rejected) == (5, 3, 1)


def test_nothing_that_changed_is_no_delta(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    resolved = resolve_delta(desk.scanned, desk.embedded, rejects=desk.rejects)
    assert (resolved.products, resolved.dead.tolist(), resolved.changes.total) == (None, [], 0)


@pytest.mark.parametrize(("stage", "version"), [("decode", "1"), ("read", ""), ("encode", "")])
def test_every_product_of_a_picture_without_a_vector_is_a_reject(stage: str, version: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path, product("1", "bad"), product("2", "bad"), product("3", "good"))
    desk.reject("bad", stage)
    (tmp_path / "catalogue").mkdir()
    resolved = resolve_catalogue(
        desk.scanned, desk.embedded, rejects=desk.rejects, folder=tmp_path / "catalogue", uri="shop.csv"
    )
    assert (resolved.catalogue.products, resolved.pictures, resolved.rejected) == (1, 1, 2)
    store = MemoryStore()
    rows = read_rejects(store, store_rejects(store, "run", [desk.rejects], tmp_path))
    # only damage lasts while the picture does: another reading or encoding may go better
    assert {(row.id, row.reference, row.stage, row.version) for row in rows} == {
        ("1", "bad.png", stage, version),
        ("2", "bad.png", stage, version),
    }


def test_a_catalogue_without_anything_usable_says_why(tmp_path: Path) -> None:
    desk = Desk(tmp_path, product("1", "bad"))
    desk.reject("bad")
    (tmp_path / "catalogue").mkdir()
    with pytest.raises(
        CatalogueError, match=r"shop\.csv could be used: 1 of 1 rejects are .*; the first one: it is damaged"
    ):
        resolve_catalogue(
            desk.scanned, desk.embedded, rejects=desk.rejects, folder=tmp_path / "catalogue", uri="shop.csv"
        )


def test_all_changes_are_counted_and_a_few_are_named() -> None:
    changes = Changes()
    table = pa.Table.from_pylist([product(str(number), "a") for number in range(SAMPLES)], schema=SCHEMA)
    changes.add(table)
    changes.add(table)
    changes.remove(table)
    changes.remove(table)
    assert (changes.counts[ADDED], len(changes.samples[ADDED])) == (2 * SAMPLES, SAMPLES)
    assert (changes.removed, len(changes.removed_sample)) == (2 * SAMPLES, SAMPLES)
