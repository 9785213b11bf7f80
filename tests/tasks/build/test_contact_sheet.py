from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from lookalike.tasks.build.contact_sheet import HITS, THUMB, Row, Tile, draw_contact_sheet
from tests.support.bombs import png
from tests.support.pictures import drawing

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
