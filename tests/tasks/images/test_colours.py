"""Colours of pictures: the eleven basic ones, of what is in front."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lookalike.data.snapshots.colours import COLOURS
from lookalike.tasks import encoders
from lookalike.tasks.images.colours import measure_colours, name_pixels
from lookalike.tasks.images.decode import decode_with_alpha

PHOTOS = Path(encoders.__file__).parent / "pictures"
NAMED = {
    "black": ["#000000", "#141414"],
    "white": ["#ffffff", "#f7f7f5"],
    "red": ["#ff0000", "#c8102e", "#a31515", "#dc143c"],
    "green": ["#008000", "#00ff00", "#2e8b57", "#556b2f", "#98fb98"],
    "yellow": ["#ffff00", "#ffe135", "#f7e98e"],
    "blue": ["#0000ff", "#1e90ff", "#000080", "#87ceeb", "#4682b4"],
    "brown": ["#8b4513", "#654321", "#a0703c"],
    "purple": ["#800080", "#9b59b6", "#8a2be2"],
    "pink": ["#ffc0cb", "#ff69b4", "#e75480"],
    "orange": ["#ff8c00", "#ff7518", "#f28c28"],
    "grey": ["#808080", "#a9a9a9", "#d3d3d3", "#505050"],
}


def measure(image: Image.Image, kind: str = "PNG", **how: object) -> dict[str, int]:
    """Return the shares of a picture as it comes from a file, in percent."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    shares = measure_colours(*decode_with_alpha(buffer.getvalue()))
    return {name: round(share / 2.55) for name, share in zip(COLOURS, shares.tolist(), strict=True) if share}


def disc(fill: object, ground: object, mode: str = "RGB", hole: object = None) -> Image.Image:
    image = Image.new(mode, (300, 240), ground)  # type: ignore[arg-type]
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 30, 240, 210), fill=fill)  # type: ignore[arg-type]
    if hole is not None:
        draw.ellipse((100, 70, 200, 170), fill=hole)  # type: ignore[arg-type]
    return image


@pytest.mark.parametrize(("name", "code"), [(name, code) for name, codes in NAMED.items() for code in codes])
def test_known_colours_have_their_names(name: str, code: str) -> None:
    pixels = np.array(list(bytes.fromhex(code[1:])), np.int16).reshape(3, 1)
    assert COLOURS[int(name_pixels(pixels)[0])] == name


def test_a_plain_ground_does_not_count() -> None:
    for ground in ("white", "black", "#dddddd", "#7fb2e5"):
        assert measure(disc("red", ground)) == {"red": 100}, ground


def test_light_that_falls_off_is_still_ground() -> None:
    pixels = np.asarray(disc("#c02020", "white")).astype(np.int16)
    vignette = np.linspace(0, 12, 300).astype(np.int16)[None, :, None]
    assert measure(Image.fromarray((pixels - vignette).clip(0, 255).astype(np.uint8)), "JPEG", quality=85)["red"] >= 95


def test_the_ground_in_a_ring_does_not_count_either() -> None:
    assert measure(disc("blue", "white", hole="white")) == {"blue": 100}


def test_white_inside_something_counts_where_the_ground_is_transparent() -> None:
    image = disc((0, 0, 255, 255), (0, 0, 0, 0), "RGBA", hole=(255, 255, 255, 255))
    shares = measure(image)
    assert shares.keys() == {"blue", "white"}
    assert shares["white"] == pytest.approx(100 * (100 / 180) ** 2, abs=4)
    assert measure(disc((0, 0, 255, 255), (0, 0, 0, 0), "RGBA", hole=(0, 0, 0, 0))) == {"blue": 100}


def test_transparency_of_a_palette_and_of_a_single_colour_is_seen() -> None:
    palette = disc("red", "lime").quantize(8)
    assert measure(palette, transparency=palette.getpixel((0, 0))) == {"red": 100}
    assert measure(disc("red", "white", hole="black"), transparency=(0, 0, 0)) == {"red": 100}
    grey = disc(0, 255, "L").convert("LA")
    grey.putalpha(disc(255, 0, "L"))
    assert measure(grey) == {"black": 100}


def test_a_turned_picture_has_its_transparency_where_its_pixels_are() -> None:
    image = Image.new("RGBA", (200, 100), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((0, 0, 99, 99), fill=(0, 128, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert measure(image, exif=exif) == {"green": 100}


def test_something_white_on_white_is_white_and_nothing_at_all_has_no_colour() -> None:
    assert measure(Image.new("RGB", (80, 80), "white")) == {"white": 100}
    assert measure(Image.new("RGB", (80, 80), "#ff8c00")) == {"orange": 100}
    assert measure(Image.new("RGBA", (80, 80), (9, 9, 9, 0))) == {}


def test_a_picture_without_a_plain_ground_counts_as_a_whole() -> None:
    halves = Image.new("RGB", (100, 100), "red")
    ImageDraw.Draw(halves).rectangle((50, 0, 99, 99), fill="blue")
    assert measure(halves) == {"red": 50, "blue": 50}


def test_photographs_have_the_colours_that_people_see() -> None:
    def largest(file: str) -> str:
        shares = measure_colours(*decode_with_alpha((PHOTOS / file).read_bytes()))
        return COLOURS[int(shares.argmax())]

    assert largest("chelsea.jpg") == "brown"  # a brown cat
    assert largest("shoe.png") == "blue"
    assert largest("coffee.jpg") in {"orange", "brown"}


def test_shares_of_any_picture_add_up() -> None:
    random = np.random.default_rng(0)
    for side in (2, 3, 63, 64, 65, 200):
        noise = Image.fromarray(random.integers(0, 256, (side, side + 5, 3), dtype=np.uint8))
        assert int(measure_colours(noise).astype(int).sum()) == pytest.approx(255, abs=6)
