"""Augmentations: any picture in, another one of the same product out, the same one each time."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from lookalike.tasks.images.augmentations import AUGMENTATIONS, MOST_PIXELS, augment, name_copy, shrink
from tests.support.pictures import drawing

HASHES = [bytes([number]) * 32 for number in range(6)]


def circle() -> Image.Image:
    """A red circle on white."""
    image = Image.new("RGB", (120, 120), "white")
    ImageDraw.Draw(image).ellipse((30, 30, 90, 90), fill="red", outline="black")
    return image


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_copy_is_another_picture_and_always_the_same_one(name: str) -> None:
    image = drawing(3)
    copies = [augment(image, HASHES[0], name) for _ in range(2)]
    assert copies[0].mode == "RGB"
    assert copies[0].size == copies[1].size
    assert copies[0].tobytes() == copies[1].tobytes()
    assert copies[0].tobytes() != image.tobytes()
    assert image.tobytes() == drawing(3).tobytes()


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "mirror"])
def test_each_picture_gets_a_copy_of_its_own(name: str) -> None:
    copies = {augment(circle(), one, name).tobytes() for one in HASHES}
    assert len(copies) == len(HASHES)


@pytest.mark.parametrize("size", [(2, 2), (3, 400), (448, 1), (1, 1)])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_pictures_of_any_shape(name: str, size: tuple[int, int]) -> None:
    copy = augment(Image.new("RGB", size, (200, 30, 30)), HASHES[1], name)
    assert min(copy.size) >= 1


def test_names_differ_by_picture_and_by_augmentation() -> None:
    names = {name_copy(one, name) for one in HASHES for name in AUGMENTATIONS}
    assert {len(name) for name in names} == {32}
    assert len(names) == len(HASHES) * len(AUGMENTATIONS)


def test_another_ground_leaves_the_product() -> None:
    before = np.asarray(circle())
    after = np.asarray(augment(circle(), HASHES[0], "ground"))
    red = np.all(before == (255, 0, 0), axis=2)
    inside = red & np.roll(red, 3, 0) & np.roll(red, -3, 0) & np.roll(red, 3, 1) & np.roll(red, -3, 1)
    np.testing.assert_array_equal(after[inside], before[inside])
    corner = slice(0, 20)
    assert (after[corner, corner] != before[corner, corner]).any(axis=2).all()


def test_white_that_the_ground_does_not_reach_is_the_product_s() -> None:
    image = circle()
    ImageDraw.Draw(image).ellipse((50, 50, 70, 70), fill="white")
    assert augment(image, HASHES[0], "ground").getpixel((60, 60)) == (255, 255, 255)


def test_a_mirror_mirrors() -> None:
    assert augment(drawing(3), HASHES[0], "mirror").tobytes() == ImageOps.mirror(drawing(3)).tobytes()


def test_a_large_picture_is_made_smaller_and_keeps_its_shape() -> None:
    assert shrink(Image.new("RGB", (2 * MOST_PIXELS, MOST_PIXELS))).size == (MOST_PIXELS, MOST_PIXELS // 2)
    assert shrink(Image.new("RGB", (20_000, 2))).size == (MOST_PIXELS, 1)
    assert shrink(small := Image.new("RGB", (30, 20))) is small
