"""How a snapshot answers beside the one before, where many products show one picture; and the sheet that shows it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.stores.local import LocalStore
from lookalike.tasks.build.compare import HITS, THUMB, Row, Tile, compare, draw_contact_sheet
from tests.support.bombs import png
from tests.support.pictures import drawing
from tests.support.shop import Shop, write_pictures


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(LocalStore(tmp_path / "store"), tmp_path)


def sizes(pictures: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """Each picture as a dozen products, such as the sizes of a shoe."""
    return [
        {**row, "id": f"{name}{number:02}-{row['title']}"} for row in pictures for name in names for number in range(12)
    ]


def overlap(shop: Shop, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> float | None:
    old, new = shop.build_rows(before, shards=1), shop.build_rows(after, shards=1)
    return compare(str(shop.folder / "store"), old, new, policy=FetchPolicy(), threads=1).overlap


def test_other_products_of_the_same_pictures_are_no_other_answer(shop: Shop, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path, 6)
    assert overlap(shop, sizes(pictures, "m"), sizes(pictures, "a", "m")) == 1.0


def test_one_product_takes_the_place_of_no_more_than_one(shop: Shop, tmp_path: Path) -> None:
    def products(names: str, *colour: int) -> list[dict[str, Any]]:
        file = tmp_path / f"{colour}.png"
        Image.new("RGB", (64, 64), colour).save(file)
        return [{"id": name, "title": "", "image": str(file), "attributes": {"n": 1}} for name in names]

    red, blue = (250, 10, 10), (10, 10, 250)
    near = [row for number in range(1, 10) for row in products(str(number), 250 - number, 10, 10)]
    after = [*products("abcdefghij", *blue), *products("z", *red), *near]
    # of ten queries each: ten ids again, whatever they show now; one picture again beside nine strangers
    assert overlap(shop, products("abcdefghij", *red), after) == pytest.approx((1.0 + 0.1) / 2)


NEW = (18, 140, 80)


def photo(seed: int) -> bytes:
    """Return a JPEG that is hard to compress."""
    rng = np.random.default_rng(seed)
    smooth = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((400, 300))
    noisy = np.asarray(smooth).astype(int) + rng.integers(-18, 18, (300, 400, 3))
    return encoded(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), "JPEG")


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def opened(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.convert("RGB")


def hits(*names: str) -> list[Tile]:
    return [Tile(name, encoded(drawing(number)), 0.9 - number / 100) for number, name in enumerate(names)]


def is_framed(sheet: Image.Image) -> bool:
    found = np.abs(np.asarray(sheet, dtype=int) - NEW).max(axis=2) < 12
    return bool((found.sum(axis=0) > THUMB).any())


def test_eight_rows_of_photos_are_a_small_picture() -> None:
    shown = [Tile(f"shoes/product {seed}.jpg", photo(seed), 0.5) for seed in range(11)]
    png = draw_contact_sheet([Row(shown[0], shown[1:6], shown[6:11])] * 8)
    assert len(png) < 400_000
    sheet = opened(png)
    assert sheet.width > (1 + 2 * HITS) * THUMB
    assert sheet.height > 8 * THUMB


def test_a_picture_stands_where_it_belongs() -> None:
    red = Tile("red", encoded(Image.new("RGB", (300, 100), (200, 20, 20))))
    sheet = np.asarray(opened(draw_contact_sheet([Row(red, [], [])])))
    rows, columns = np.nonzero(np.abs(sheet.astype(int) - (200, 20, 20)).max(axis=2) < 12)
    assert (int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1) == (THUMB, THUMB // 3)


def test_only_hits_that_were_not_there_before_are_framed() -> None:
    query = hits("q")[0]
    assert not is_framed(opened(draw_contact_sheet([Row(query, hits("a", "b"), hits("b", "a"))])))
    assert is_framed(opened(draw_contact_sheet([Row(query, hits("a", "b"), hits("a", "c"))])))
    assert not is_framed(opened(draw_contact_sheet([Row(query, [], hits("a", "c"))])))  # a first snapshot: all are new


@pytest.mark.parametrize(
    "read",
    [
        lambda: None,
        lambda: b"",
        lambda: b"no picture",
        lambda: photo(1)[:2000],
        lambda: png(20_000, 10_000, channels=1),
    ],
)
def test_what_cannot_be_shown_is_a_tile(read: Callable[[], bytes | None]) -> None:
    broken = Tile("x", read(), 0.5)
    assert opened(draw_contact_sheet([Row(broken, [broken], [broken])])) is not None


@pytest.mark.parametrize("name", ["", "schöne Größe 靴 👟", "a\nb\0c", "x" * 5000])
def test_any_id_can_be_written(name: str) -> None:
    assert draw_contact_sheet([Row(Tile(name, None), hits(name), hits(name))])


def test_more_hits_than_columns_and_no_rows() -> None:
    many = hits(*"abcdefghij")
    assert (
        opened(draw_contact_sheet([Row(many[0], many, many)])).size
        == opened(draw_contact_sheet([Row(many[0], many[:5], many[:5])])).size
    )
    assert opened(draw_contact_sheet([])).height > THUMB


def test_the_sheet_has_queries_by_text_where_there_are_words(shop: Shop, tmp_path: Path) -> None:
    def rows_of(manifest: Any) -> int:
        sheet = compare(str(shop.folder / "store"), None, manifest, policy=FetchPolicy(), threads=1).contact_sheet
        data = shop.store.read(sheet)
        shop.store.delete(sheet)  # all snapshots of a shop are of one run
        with Image.open(io.BytesIO(data)) as picture:
            return picture.height

    pictures = write_pictures(tmp_path, 4)
    titles = ("red hat", "blue hat", "pink hat", "red hat")
    named = [{**row, "title": title} for row, title in zip(pictures, titles, strict=True)]
    with_words = rows_of(shop.build_rows(named))
    assert with_words > rows_of(shop.build_rows([{**row, "title": ""} for row in named]))
    shop.words = None
    assert with_words > rows_of(shop.build_rows(named))


def test_words_stand_where_a_picture_would() -> None:
    tile = Tile("red hat", None, words="red hat 红色 🦊")
    with Image.open(io.BytesIO(draw_contact_sheet([Row(tile, [], [])]))) as sheet:
        drawn = np.asarray(sheet.convert("L"))[40:80, 16:80]
    assert (drawn < 100).any()
