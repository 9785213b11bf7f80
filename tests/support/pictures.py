"""Real pictures for tests: drawn by Pillow, distinct, and in every odd form that catalogues hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tests.support.bombs import png


def drawing(seed: int, side: int = 160) -> Image.Image:
    """Return a drawing that no other seed gives: overlapping shapes in few colours."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    shapes: list[Callable[..., None]] = [draw.ellipse, draw.rectangle, draw.rounded_rectangle]
    for _ in range(int(random.integers(4, 9))):
        left, top = (int(value) for value in random.integers(0, side // 2, 2))
        width, height = (int(value) for value in random.integers(side // 8, side // 2, 2))
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        shapes[int(random.integers(0, 3))]((left, top, left + width, top + height), fill=colour)
    return image


def write_catalogue(folder: Path, count: int, *, first: int = 0) -> Path:
    """Write `count` drawings into `folder`, in three categories; return the folder."""
    for seed in range(first, first + count):
        path = folder / ("shoes", "hats", "bags")[seed % 3] / f"{seed:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawing(seed).save(path)
    return folder


def write_odd_pictures(folder: Path) -> tuple[dict[str, str], set[str]]:
    """Write every trouble that a picture can be.

    Returns:
        The reason that each unusable file must be rejected with, and the names of those that must be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picture = drawing(9000)
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("I am no picture")
    picture.save(folder / "whole.jpg", quality=90)
    data = (folder / "whole.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(data[: len(data) // 2])
    Image.new("RGB", (1, 1)).save(folder / "tiny.png")
    (folder / "huge.png").write_bytes(png(20_000, 10_000, channels=1))
    drawing(9001).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.asarray(drawing(9002).convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    drawing(9003).quantize(16).save(folder / "palette.png", transparency=0)
    drawing(9004).save(folder / "moving.gif", save_all=True, append_images=[drawing(9005), drawing(9006)], duration=50)
    exif = Image.Exif()
    exif[0x0112] = 6
    drawing(9007).save(folder / "turned.jpg", exif=exif)
    drawing(9008).save(folder / "schöne Größe #1?.png")
    rejected = {
        "empty.png": "empty",
        "text.png": "not_an_image",
        "truncated.jpg": "damaged",
        "tiny.png": "too_small",
        "huge.png": "too_many_pixels",
    }
    used = {"whole.jpg", "cmyk.jpg", "deep.png", "palette.png", "moving.gif", "turned.jpg", "schöne Größe #1?.png"}
    return rejected, used
