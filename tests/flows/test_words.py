"""Words in the flows: a reindex builds them, a refresh keeps them whole, and neither adds half of them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.store import read_manifest, verify
from lookalike.data.stores import open_store
from lookalike.tasks.search.searcher import Searcher
from tests.flows.conftest import Reindex
from tests.support.pictures import drawing

pytestmark = [pytest.mark.services, pytest.mark.slow]

TITLES = {str(number): f"blue hat number {number}" for number in range(20)}


def write(folder: Path, titles: dict[str, str]) -> Path:
    """Write a catalogue, and the pictures that it lacks."""
    for name in titles:
        picture = folder / f"{name}.png"
        if not picture.exists():
            drawing(int(name)).save(picture)
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "title", "colour"])
        writer.writerows([name, f"{name}.png", title, "navy"] for name, title in titles.items())
    return folder / "products.csv"


def current(folder: Path) -> Manifest:
    store = open_store(str(folder / "store"))
    return read_manifest(store, Channel(store).current().snapshot)


def find(folder: Path, text: str) -> set[str]:
    store = open_store(str(folder / "store"))
    searcher = Searcher.open(store, current(folder), BlobCache(folder / "cache"), threads=1)
    assert searcher.words is not None
    rows = searcher.words.query(text).candidates(100, None)
    return {product.id for product in searcher.products.take(rows)}


def test_words_of_a_reindex_and_of_the_refreshes_after_it_are_found(
    run: Reindex, refresh: Reindex, tmp_path: Path
) -> None:
    run(write(tmp_path, TITLES), shards=2)
    assert find(tmp_path, "hat 7 ") == set(TITLES)
    assert find(tmp_path, "navy") == set(TITLES)
    manifest = current(tmp_path)
    assert [name for name in manifest.named_blobs() if "words" in name] == [
        "the words of shard 0",
        "the words of shard 1",
    ]
    changed = {**TITLES, "3": "green scarf", "20": "green shoe"}
    del changed["19"]
    report = refresh(write(tmp_path, changed))
    assert (report.kind, report.added, report.changed_text, report.removed) == ("refresh", 1, 1, 1)
    after = current(tmp_path)
    assert after.words == manifest.words
    assert after.content != manifest.content
    assert verify(open_store(str(tmp_path / "store")), after) == []
    assert find(tmp_path, "green") == {"3", "20"}
    assert find(tmp_path, "blue") == set(TITLES) - {"3", "19"}


def test_a_refresh_adds_no_words_to_a_snapshot_without_and_a_reindex_does(
    run: Reindex, refresh: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("LOOKALIKE_WORDS", "false")
        run(write(tmp_path, TITLES))
        assert current(tmp_path).words is None
        assert run(tmp_path / "products.csv").state == "unchanged"
    catalogue = write(tmp_path, {**TITLES, "20": "green shoe"})
    assert refresh(catalogue).kind == "refresh"
    assert current(tmp_path).words is None
    assert not any(shard.text for shard in current(tmp_path).shards)
    assert (report := run(catalogue)).state == "published"
    assert (report.embedded, report.added) == (0, 0)
    assert find(tmp_path, "green") == {"20"}
    assert run(catalogue).state == "unchanged"
