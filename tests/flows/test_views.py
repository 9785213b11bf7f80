"""Products with several pictures, from lists in a catalogue to hits: full builds, refreshes, and bad pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lookalike.data.catalogue.columns import MOST_PICTURES
from lookalike.data.catalogue.rejects import read_rejects
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.store import read_manifest, verify
from lookalike.data.stores import open_store
from lookalike.tasks.search.searcher import Searcher
from tests.flows.conftest import Reindex
from tests.support.pictures import drawing

pytestmark = [pytest.mark.services, pytest.mark.slow]

COUNT = 60


class Catalogue:
    """A JSONL file whose products have 1 to 4 pictures, as `rows` says; `write` saves it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "shop.jsonl"
        self.folder = folder / "pictures"
        self.folder.mkdir()
        self.rows: list[dict[str, Any]] = []
        for number in range(COUNT):
            names = [self.draw(f"{number}-{view}", 10 * number + view) for view in range(1, 2 + number % 4)]
            self.rows.append({"id": f"p{number}", "title": f"Product {number}", "image": names, "price": number})

    def draw(self, name: str, seed: int) -> str:
        path = self.folder / f"{name}.png"
        drawing(seed).save(path)
        os.utime(path, ns=(seed * 10**9, seed * 10**9))
        return f"pictures/{name}.png"

    def write(self) -> Path:
        self.file.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return self.file


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path)


def current(folder: Path) -> Manifest:
    store = open_store(str(folder / "store"))
    return read_manifest(store, Channel(store).current().snapshot)


def opened(folder: Path) -> Searcher:
    return Searcher.open(open_store(str(folder / "store")), current(folder), BlobCache(folder / "cache"), threads=1)


def check_found(searcher: Searcher, catalogue: Catalogue) -> None:
    """Check that each picture of each product finds it, and says which one it is."""
    for row in catalogue.rows:
        for view, name in enumerate(row["image"], 1):
            hit = searcher.search(searcher.embed((catalogue.file.parent / name).read_bytes()), 1)[0]
            assert (hit.product.id, hit.view) == (row["id"], view if len(row["image"]) > 1 else None), name


def test_each_picture_finds_its_product_and_nothing_is_embedded_twice(
    run: Reindex, catalogue: Catalogue, tmp_path: Path
) -> None:
    report = run(catalogue.write(), shards=2)
    assert (report.state, report.products, report.rejected) == ("published", COUNT, 0)
    assert report.embedded == sum(len(row["image"]) for row in catalogue.rows)
    assert report.recall_at_10 == 1.0
    manifest = current(tmp_path)
    assert manifest.requires == ("views",)
    assert verify(open_store(str(tmp_path / "store")), manifest) == []
    check_found(opened(tmp_path), catalogue)
    assert run(catalogue.file, shards=2).state == "unchanged"
    again = run(catalogue.file, shards=2, full=True)
    assert (again.embedded, current(tmp_path).content) == (0, manifest.content)


def test_bad_pictures_are_reported_and_the_rest_of_their_product_is_found(
    run: Reindex, catalogue: Catalogue, tmp_path: Path
) -> None:
    rows = catalogue.rows
    (catalogue.folder / "1-2.png").unlink()  # missing
    (catalogue.folder / "2-1.png").write_bytes(b"no picture")  # the first of three
    rows[3]["image"] = [rows[3]["image"][0]] * 2  # twice the same
    (catalogue.folder / "5-2.png").write_bytes((catalogue.folder / "5-1.png").read_bytes())  # under two names
    rows[4]["image"] = ["pictures/none.png", "data:image/png;base64,AAAA"]
    rows[6]["image"] = [*rows[6]["image"][:2], "data:image/png;base64,AAAA"]
    rows[7]["image"] = [catalogue.draw(f"many-{number}", 5000 + number) for number in range(200)]
    rows.append({"id": "p8", "title": "The id is there", "image": rows[9]["image"], "price": 1})
    report = run(catalogue.write())
    assert (report.state, report.products) == ("published", COUNT - 1)
    assert report.rejects is not None
    rejects = {(one.id, one.reason) for one in read_rejects(open_store(str(tmp_path / "store")), report.rejects)}
    assert rejects == {
        ("p1", "missing"),
        ("p2", "not_an_image"),
        ("p4", "missing"),
        ("p4", "unsupported_reference"),
        ("p6", "unsupported_reference"),
        ("p8", "duplicate_id"),
    }
    notes = " ".join(report.notes)
    assert f"products name more than {MOST_PICTURES} pictures" in notes
    assert "the same picture several times" in notes
    assert "the same as another one of their product" in notes
    searcher = opened(tmp_path)
    rows.pop()
    rows[1]["image"].pop()
    rows[2]["image"] = rows[2]["image"][1:]
    rows[3]["image"].pop()
    rows[5]["image"].pop()
    rows[6]["image"].pop()
    rows[7]["image"] = rows[7]["image"][:MOST_PICTURES]
    del rows[4]
    check_found(searcher, catalogue)
    assert run(catalogue.file).embedded == 0


def test_a_refresh_answers_as_a_full_build_does(
    run: Reindex, refresh: Reindex, catalogue: Catalogue, tmp_path: Path
) -> None:
    run(catalogue.write())
    rows = catalogue.rows
    assert refresh(catalogue.file).state == "unchanged"
    catalogue.draw("13-2", 9000)  # a second picture changed
    rows[15]["image"].pop()
    rows[16]["image"].append(catalogue.draw("16-2", 9001))
    rows[17]["image"] = rows[17]["image"][:1]  # from two to one
    rows.append({"id": "new", "title": "New", "image": [catalogue.draw("new", 9002), catalogue.draw("new-2", 9003)]})
    del rows[19]
    report = refresh(catalogue.write())
    assert (report.state, report.kind) == ("published", "refresh")
    assert (report.added, report.changed_pictures, report.removed, report.embedded) == (1, 4, 1, 4)
    refreshed = opened(tmp_path)
    check_found(refreshed, catalogue)
    assert refresh(catalogue.file).state == "unchanged"
    assert run(catalogue.file, full=True).products == COUNT  # the delta is folded in
    built = opened(tmp_path)
    check_found(built, catalogue)
    for row in rows:
        for name in row["image"]:
            vector = refreshed.embed((tmp_path / name).read_bytes())
            one, other = (searcher.search(vector, COUNT) for searcher in (refreshed, built))
            assert {(hit.product.id, hit.view) for hit in one} == {(hit.product.id, hit.view) for hit in other}


def test_the_first_further_picture_of_a_catalogue_needs_a_full_build_and_the_last_leaves_no_trace(
    run: Reindex, refresh: Reindex, catalogue: Catalogue, tmp_path: Path
) -> None:
    every = [row["image"] for row in catalogue.rows]
    for row in catalogue.rows:
        row["image"] = row["image"][0]
    run(catalogue.write())
    plain = current(tmp_path)
    assert plain.requires == ()
    for row, images in zip(catalogue.rows, every, strict=True):
        row["image"] = images
    catalogue.rows[0]["image"] = catalogue.rows[0]["image"][0]
    report = refresh(catalogue.write())
    assert (report.state, report.kind) == ("published", "reindex")
    assert current(tmp_path).requires == ("views",)
    for row in catalogue.rows:
        row["image"] = [row["image"]] if isinstance(row["image"], str) else row["image"][:1]
    report = run(catalogue.write())
    assert (report.state, report.embedded) == ("published", 0)
    assert current(tmp_path).content == plain.content
