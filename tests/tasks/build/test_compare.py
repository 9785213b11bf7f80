"""How a snapshot answers beside the one before, where many products show one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.stores.local import LocalStore
from lookalike.tasks.build.compare import compare
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
