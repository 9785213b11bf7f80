"""Duplicates through the flows: one vector for a thousand products, groups in the snapshot, what a refresh keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from lookalike.data.embeddings import Embeddings
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.store import read_manifest, verify
from lookalike.data.stores import open_store
from lookalike.tasks.search.searcher import Searcher
from tests.flows.conftest import Reindex
from tests.support.pictures import drawing, write_catalogue

pytestmark = [pytest.mark.services, pytest.mark.slow]

PICTURES = 200


def current(folder: Path) -> Manifest:
    store = open_store(str(folder / "store"))
    return read_manifest(store, Channel(store).current().snapshot)


def opened(folder: Path) -> Searcher:
    return Searcher.open(open_store(str(folder / "store")), current(folder), BlobCache(folder / "cache"), threads=1)


def write_table(folder: Path, *more: str) -> Path:
    """Write a catalogue of all drawings, of which the first is that of a thousand products."""
    files = sorted(folder.rglob("*.png"))
    rows = [f"{number},{file}" for number, file in enumerate(files)]
    rows += [f"same {number},{files[0]}" for number in range(999)]
    table = folder / "products.csv"
    table.write_text("\n".join(["id,image", *rows, *more]))
    return table


def test_a_thousand_products_with_one_picture(run: Reindex, refresh: Reindex, tmp_path: Path) -> None:
    folder = write_catalogue(tmp_path / "pictures", PICTURES)
    report = run(write_table(folder), shards=2)
    assert (report.state, report.products, report.embedded) == ("published", PICTURES + 999, PICTURES)
    manifest = current(tmp_path)
    store = open_store(str(tmp_path / "store"))
    embedded = Embeddings(store, manifest.encoder.fingerprint)
    assert sum(len(hashes) for hashes in embedded.hash_columns()) == PICTURES  # computed and stored once
    assert report.figures["exact_duplicates"] == 1000
    assert report.recall_at_10 == 1.0
    searcher = opened(tmp_path)
    row = searcher.products.row("same 7")
    assert searcher.duplicates.exact.hidden(row, None) == 999
    again = run(write_table(folder), shards=2)
    assert (again.state, again.embedded) == ("unchanged", 0)

    delta = refresh(write_table(folder, f"came later,{min(folder.rglob('*.png'))}"))
    assert (delta.state, delta.kind, delta.embedded) == ("published", "refresh", 0)
    searcher = opened(tmp_path)
    assert searcher.duplicates.exact.hidden(searcher.products.row("came later"), None) == 1000


def test_near_duplicates_are_grouped_told_and_kept_by_a_refresh(
    run: Reindex, refresh: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_NEAR_DUPLICATES", "0.95")
    folder = write_catalogue(tmp_path / "pictures", PICTURES)
    for name in ("one", "two"):
        drawing(5).save(folder / f"{name}.jpg", quality=95 if name == "one" else 90)
    ImageEnhance.Brightness(Image.open(folder / "one.jpg")).enhance(0.99).save(folder / "three.png")
    report = run(shards=2)
    manifest = current(tmp_path)
    section = manifest.duplicates
    assert section is not None
    assert (section.threshold, report.figures["near_duplicate_groups"]) == (0.95, section.count)
    assert verify(open_store(str(tmp_path / "store")), manifest) == []
    assert section.groups.key in manifest.needs()
    found = near(opened(tmp_path), "one.jpg")
    assert {"one.jpg", "two.jpg", "three.png", "bags/0005.png"} <= found
    assert len(found) < PICTURES / 4

    drawing(900).save(folder / "new.png")
    drawing(900).save(folder / "new too.jpg", quality=95)
    (folder / "two.jpg").unlink()
    assert refresh().state == "published"
    after = current(tmp_path)
    assert after.duplicates == section
    assert near(opened(tmp_path), "one.jpg") == found - {"two.jpg"}

    again = run()  # it keeps what was trained, so only what is new looks for neighbours, and who lost one
    assert again.state == "published"
    folded = opened(tmp_path)
    assert near(folded, "one.jpg") == found - {"two.jpg"}
    assert near(folded, "new.png") == {"new.png", "new too.jpg"}
    assert current(tmp_path).projection == manifest.projection

    monkeypatch.setenv("LOOKALIKE_NEAR_DUPLICATES", "0")
    last = run(full=True)
    assert "near_duplicate_groups" not in last.figures
    assert current(tmp_path).duplicates is None


def near(searcher: Searcher, product: str) -> set[str]:
    """Return the products that can be found and are in a product's group of near-duplicates."""
    members = searcher.duplicates.near.members(searcher.products.row(product))
    alive = searcher.products.alive
    rows = members if alive is None else members[alive[members]]
    return {found.id for found in searcher.products.take(rows.astype(np.int64))}
