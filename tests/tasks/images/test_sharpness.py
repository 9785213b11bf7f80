"""Sharpness: photos and drawings are sharp, and blurred ones are told from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFilter

from lookalike.tasks import encoders
from lookalike.tasks.images.decode import decode
from lookalike.tasks.images.sharpness import BLURRED, measure_sharpness

PICTURES = sorted(file for file in (Path(encoders.__file__).parent / "pictures").iterdir() if file.suffix != ".py")


@pytest.mark.parametrize(
    "file", [file for file in PICTURES if file.suffix in {".jpg", ".png"}], ids=lambda file: file.name
)
def test_photos_are_sharp_until_they_are_blurred(file: Path) -> None:
    image = decode(file.read_bytes())
    assert measure_sharpness(image) > 1.5 * BLURRED
    assert measure_sharpness(image.resize((image.width * 3, image.height * 3), Image.Resampling.NEAREST)) > BLURRED
    assert measure_sharpness(image.filter(ImageFilter.GaussianBlur(2))) < BLURRED
    small = image.resize((48, 48)).resize((900, 900), Image.Resampling.BICUBIC)  # made large again
    assert measure_sharpness(small) < BLURRED


@pytest.mark.parametrize("contrast", [255, 60])
def test_contrast_does_not_count(contrast: int) -> None:
    image = Image.new("RGB", (300, 200), (0, 0, 0))
    ImageDraw.Draw(image).rectangle((100, 50, 200, 150), fill=(contrast, contrast, contrast))
    assert measure_sharpness(image) == pytest.approx(1.0)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (300, 200)])
def test_one_colour_has_none(size: tuple[int, int]) -> None:
    assert measure_sharpness(Image.new("RGB", size, (9, 9, 9))) == 0.0
