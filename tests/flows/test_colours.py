"""Colours in the flows: a reindex measures them, a refresh keeps them whole, and each picture is looked at once."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.colours import open_colours
from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.store import read_manifest, verify
from lookalike.data.stores import open_store
from lookalike.tasks.search.searcher import Searcher
from tests.flows.conftest import Reindex

pytestmark = [pytest.mark.services, pytest.mark.slow]

SHOWN = {f"{name}-{number}": name for number in range(6) for name in ("red", "blue", "yellow", "black", "green")}


def write(folder: Path, shown: dict[str, str], column: str = "note") -> Path:
    """Write a catalogue, and a disc in each product's colour."""
    for name, fill in shown.items():
        shift = 5 * int(name.partition("-")[2] or 6)  # another picture for each number
        image = Image.new("RGB", (120, 90), "white")
        ImageDraw.Draw(image).ellipse((10 + shift, 10, 80 + shift, 80), fill=fill)
        image.save(folder / f"{name}.png")
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "title", column])
        writer.writerows([name, f"{name}.png", "a disc", "mine"] for name in shown)
    return folder / "products.csv"


def current(folder: Path) -> Manifest:
    store = open_store(str(folder / "store"))
    return read_manifest(store, Channel(store).current().snapshot)


def search(folder: Path) -> Searcher:
    return Searcher.open(open_store(str(folder / "store")), current(folder), BlobCache(folder / "cache"), threads=1)


def find(folder: Path, colour: str) -> dict[str, object]:
    """Return what has a colour, with its attribute."""
    searcher = search(folder)
    assert searcher.colours is not None
    rows = searcher.colours.query([colour]).candidates(100, None)
    return {product.id: product.attributes.get("colour") for product in searcher.products.take(rows)}


def named(colour: str, shown: dict[str, str] = SHOWN) -> dict[str, object]:
    return {name: [colour] for name, fill in shown.items() if fill == colour}


def test_a_reindex_measures_colours_and_a_refresh_those_of_what_came(
    run: Reindex, refresh: Reindex, tmp_path: Path
) -> None:
    run(write(tmp_path, SHOWN), shards=2)
    for colour in ("red", "blue", "yellow"):
        assert find(tmp_path, colour) == named(colour)
    manifest = current(tmp_path)
    assert [name for name in manifest.named_blobs() if "colours" in name] == [
        "the colours of shard 0",
        "the colours of shard 1",
    ]
    assert run(tmp_path / "products.csv").state == "unchanged"

    changed = {**SHOWN, "red-0": "blue", "extra": "red"}
    del changed["yellow-0"]
    report = refresh(write(tmp_path, changed))
    assert (report.kind, report.added, report.removed) == ("refresh", 1, 1)
    assert verify(open_store(str(tmp_path / "store")), current(tmp_path)) == []
    for colour in ("red", "blue", "yellow"):
        assert find(tmp_path, colour) == named(colour, changed)


def test_pictures_that_were_embedded_before_get_their_colours_once(
    run: Reindex, refresh: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("LOOKALIKE_COLOURS", "false")
        run(write(tmp_path, SHOWN))
        assert current(tmp_path).colours is None
        assert search(tmp_path).colours is None
        assert len(open_colours(open_store(str(tmp_path / "store"))).read()[0]) == 0
    refresh(write(tmp_path, {**SHOWN, "extra": "red"}))
    assert current(tmp_path).colours is None  # a text must not find half a catalogue

    report = run(tmp_path / "products.csv")
    assert (report.embedded, report.state) == (0, "published")
    assert find(tmp_path, "red") == named("red", {**SHOWN, "extra": "red"})
    store = open_store(str(tmp_path / "store"))
    files = [found.key for found in store.list("colours/")]
    assert len(open_colours(store).read()[0]) == len(SHOWN) + 1
    run(tmp_path / "products.csv", full=True)
    assert [found.key for found in store.list("colours/")] == files


def test_a_catalogue_with_colours_of_its_own_keeps_them(run: Reindex, tmp_path: Path) -> None:
    run(write(tmp_path, SHOWN, column="Color"))
    searcher = search(tmp_path)
    assert list(searcher.products.attributes) == ["Color"]
    assert searcher.colours is not None
    rows = searcher.colours.query(["red"]).candidates(100, None)
    assert {product.attributes["Color"] for product in searcher.products.take(rows)} == {"mine"}
