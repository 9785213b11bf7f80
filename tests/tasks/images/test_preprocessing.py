from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from lookalike.tasks.images.decode import decode
from lookalike.tasks.images.preprocessing import Preprocessing, apply, prepare

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def halves(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


@pytest.mark.parametrize("fit", ["pad", "stretch", "crop"])
@pytest.mark.parametrize("size", [(2, 2), (500, 500), (40, 400), (1000, 3), (3, 1000)])
def test_shape_for_any_picture(fit: str, size: tuple[int, int]) -> None:
    pixels = apply(Preprocessing.model_validate({"size": 32, "fit": fit}), halves(*size))

    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous


def test_pad_keeps_the_shape_and_centres_it() -> None:
    pixels = apply(Preprocessing(size=40, fit="pad", background=(0, 255, 0)), halves(400, 200))

    assert tuple(pixels[0, 20]) == (0, 255, 0)
    assert tuple(pixels[-1, 20]) == (0, 255, 0)
    assert (pixels[10:30] != (0, 255, 0)).any(axis=2).all()
    assert tuple(pixels[20, 2]) == RED
    assert tuple(pixels[20, -3]) == BLUE


def test_stretch_fills_the_square() -> None:
    pixels = apply(Preprocessing(size=40, fit="stretch"), halves(400, 200))

    assert tuple(pixels[0, 0]) == RED
    assert tuple(pixels[-1, -1]) == BLUE


def test_crop_takes_the_middle() -> None:
    image = Image.new("RGB", (400, 100), WHITE)
    image.paste(RED, (150, 0, 250, 100))

    whole = apply(Preprocessing(size=40, fit="crop"), image)
    assert (whole[2:-2, 2:-2] == RED).all()
    part = apply(Preprocessing(size=40, fit="crop", crop_share=0.5), image)
    assert (part == RED).all()


def test_a_crop_has_the_pixels_of_a_whole_picture() -> None:
    buffer = io.BytesIO()
    Image.effect_noise((320, 320), 90).convert("RGB").save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()

    def lost(spec: Preprocessing) -> float:
        whole = apply(spec, decode(data)).astype(int)
        return float(np.abs(prepare(spec, data) - whole).mean())

    assert lost(Preprocessing(size=32, fit="crop", crop_share=0.25)) == 0


@pytest.mark.parametrize("version", [2, 3])
def test_what_was_stored_before_the_first_release_is_read_as_version_1(version: int) -> None:
    """Encoders lie in stores from that time, under fingerprints that did not change."""
    assert Preprocessing.model_validate({"version": version, "fit": "crop"}) == Preprocessing(fit="crop")


def test_it_travels_as_json() -> None:
    spec = Preprocessing(size=288, fit="crop", crop_share=0.875, interpolation="lanczos")

    assert Preprocessing.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"fit": "squeeze"}, {"version": 4}, {"background": (0, 0, 256)}, {"x": 1}]
)
def test_it_refuses_what_it_does_not_know(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Preprocessing.model_validate(wrong)
