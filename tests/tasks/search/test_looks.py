"""A text finds pictures by way of titles: the nearest titles' pictures are its examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.stores import open_store
from lookalike.tasks.search.looks import EXAMPLES, find_examples
from lookalike.tasks.search.meaning import NearTexts
from lookalike.tasks.search.searcher import Searcher
from tests.support.shop import Shop, write_pictures


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    """Twenty red things that look alike, and twenty blue ones; every second one has no title."""
    folder = tmp_path_factory.mktemp("looks")
    shop = Shop(open_store(str(folder / "store")), folder)
    shop.text_encoder = "fake"
    pictures = folder / "pictures"
    pictures.mkdir()
    rows = write_pictures(pictures, 40)
    for number, row in enumerate(rows):
        colour, words = (("red", "scarlet shoe"), ("blue", "navy hat"))[number // 20]
        paint(Path(row["image"]), colour, number)
        row["title"] = f"{words} {number}" if number % 2 else ""
        row["id"] = f"{colour}-{number}"
    manifest = shop.build_rows(rows)
    return Searcher.open(shop.store, manifest, BlobCache(folder / "cache"), threads=1)


def paint(file: Path, colour: str, seed: int) -> None:
    image = Image.new("RGB", (64, 64), colour)
    ImageDraw.Draw(image).rectangle((seed, seed, seed + 6, seed + 6), fill="white")
    image.save(file)


def near(searcher: Searcher, text: str) -> NearTexts:
    assert searcher.texts is not None
    return NearTexts(searcher.texts, searcher.texts.embed(text))


def test_a_text_finds_pictures_without_a_title(searcher: Searcher) -> None:
    for text, colour in (("scarlet shoe", "red"), ("navy hat", "blue")):
        examples = find_examples(searcher, near(searcher, text))
        assert examples is not None
        found = searcher.hits(searcher.nearest(examples.direction, 20))
        assert {hit.product.id.partition("-")[0] for hit in found} == {colour}
        assert any(not hit.product.title for hit in found)
        assert examples.weights.sum() == pytest.approx(1.0)
        assert (np.diff(examples.weights) <= 0).all()
        assert len(examples.rows) <= EXAMPLES


def test_examples_are_taken_from_those_that_are_allowed(searcher: Searcher) -> None:
    allowed = np.zeros(searcher.products.rows, bool)
    allowed[[row for row in range(40) if searcher.products.take([row])[0].id.startswith("blue")]] = True
    examples = find_examples(searcher, near(searcher, "scarlet shoe"), allowed)
    assert examples is None or allowed[examples.rows].all()
    assert find_examples(searcher, near(searcher, "scarlet shoe"), np.zeros(40, bool)) is None
