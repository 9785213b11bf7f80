"""What becomes of a product's picture on its way into a query: what phones, apps and screenshots do to it.

Every distortion draws from a generator of its own, seeded by the picture's bytes, so the same picture is always
distorted the same way, whatever else is measured.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from lookalike.tasks.images.decode import FORMATS, decode
from lookalike.tasks.images.sanitize import strip_metadata

VERSION = 2
"""Of everything here: vectors of queries that are kept from an earlier run hold for one version."""

MOST_PIXELS = 640
"""Longer side in pixels of what is distorted; larger pictures are scaled down first, as apps do before they send."""

WHITE = (255, 255, 255)
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Distortion:
    """`apply` takes a picture in mode RGBA, transparent where the file is, and gives RGB; `quality` is the JPEG's."""

    apply: Callable[[Image.Image, Random], Image.Image]
    quality: int = 90


def distorted(data: bytes, name: str, seed: int = 0) -> bytes:
    """Return the picture as a JPEG under the distortion of this name. Raises `ImageRejectedError`."""
    random = Random(f"{name} {seed} {hashlib.sha256(data).hexdigest()}")
    distortion = DISTORTIONS[name]
    image = distortion.apply(_layered(data), random)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=distortion.quality)
    return buffer.getvalue()


def _layered(data: bytes) -> Image.Image:
    """The picture in mode RGBA, small enough; decoded by the product's own guard first, and again as it does."""
    flat = decode(data, target=MOST_PIXELS)
    with Image.open(io.BytesIO(strip_metadata(data)), formats=FORMATS) as opened:
        seen_through = opened.has_transparency_data and not opened.mode.startswith("I")  # deep grey is never so
        image = (_upright(opened) if seen_through else flat).convert("RGBA")
    image.thumbnail((MOST_PIXELS, MOST_PIXELS))
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001  # EXIF is often broken, and the product takes the picture without it
        return image


def _flat(image: Image.Image, background: Image.Image | None = None) -> Image.Image:
    canvas = background or Image.new("RGB", image.size, WHITE)
    canvas.paste(image, mask=image)
    return canvas


def _crop(image: Image.Image, random: Random) -> Image.Image:
    """Keep 60 to 85 % of the area, anywhere."""
    return _cropped(_flat(image), random.uniform(0.6, 0.85), random)


def _cropped(image: Image.Image, area: float, random: Random) -> Image.Image:
    width, height = (max(1, round(side * area**0.5)) for side in image.size)
    left, top = random.randint(0, image.width - width), random.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


def _turn(image: Image.Image, random: Random) -> Image.Image:
    """By 5 to 25 degrees either way."""
    return _turned(_flat(image), random.choice((-1, 1)) * random.uniform(5, 25))


def _turned(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(degrees, resample=Image.Resampling.BICUBIC, expand=True, fillcolor=WHITE)


def _mirror(image: Image.Image, _: Random) -> Image.Image:
    """As front cameras do."""
    return ImageOps.mirror(_flat(image))


def _light(image: Image.Image, random: Random) -> Image.Image:
    """Too dark or too bright, flat or hard, and of a warm or a cold lamp."""
    lit = ImageEnhance.Brightness(_flat(image)).enhance(random.choice((random.uniform(0.45, 0.7), 1.4)))
    lit = ImageEnhance.Contrast(lit).enhance(random.uniform(0.6, 1.4))
    warmth = random.uniform(-0.18, 0.18)
    red, green, blue = lit.split()
    red, blue = (
        band.point([min(255, round(value * gain)) for value in range(256)])
        for band, gain in (
            (red, 1 + warmth),
            (blue, 1 - warmth),
        )
    )
    return Image.merge("RGB", (red, green, blue))


def _blur(image: Image.Image, random: Random) -> Image.Image:
    """Out of focus, by 0.5 to 1.5 % of the longer side."""
    return _flat(image).filter(ImageFilter.GaussianBlur(max(image.size) * random.uniform(0.005, 0.015)))


def _noise(image: Image.Image, random: Random) -> Image.Image:
    """Of a sensor in little light, with a standard deviation of 15 to 35 of 255."""
    pixels = np.asarray(_flat(image), dtype=np.float32)
    noise = np.random.default_rng(random.getrandbits(64)).normal(0, random.uniform(15, 35), pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _small(image: Image.Image, random: Random) -> Image.Image:
    """Passed on as a thumbnail of 100 to 200 pixels."""
    small = _flat(image)
    side = random.randint(100, 200)
    small.thumbnail((side, side))
    return small


def _background(image: Image.Image, random: Random) -> Image.Image:
    """On a table: over something uneven of another colour, of which 20 to 45 % of each side is seen around it."""
    share = random.uniform(0.55, 0.8)
    size = (round(image.width / share), round(image.height / share))
    table = _table(size, random)
    place = tuple(random.randint(0, outer - inner) for outer, inner in zip(size, image.size, strict=True))
    layer = Image.new("RGBA", size)
    layer.paste(image, (place[0], place[1]))
    return _flat(layer, table)


def _table(size: tuple[int, int], random: Random) -> Image.Image:
    draws = np.random.default_rng(random.getrandbits(64))
    base = draws.uniform(110, 225) + draws.normal(0, 16, 3)
    shades = draws.normal(0, 16, (5, 5, 1)) + draws.normal(0, 5, (5, 5, 3))
    patches = np.clip(base + shades, 0, 255).astype(np.uint8)
    table = np.asarray(Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    grain = draws.normal(0, 8, (size[1], size[0], 1))
    return Image.fromarray(np.clip(table + grain, 0, 255).astype(np.uint8))


def _overlay(image: Image.Image, random: Random) -> Image.Image:
    """A price badge in a corner and a band of text across: together about a sixth of the picture."""
    flat = _flat(image)
    draw = ImageDraw.Draw(flat)
    width, height = flat.size
    side = round(min(flat.size) * random.uniform(0.25, 0.35))
    left, top = random.choice((0, width - side)), random.choice((0, height - side))
    draw.ellipse((left, top, left + side, top + side), fill=_colour(random))
    draw.text((left + side // 4, top + side // 3), "-30%", fill=WHITE, font_size=max(8, side // 4))
    level = round(height * random.uniform(0.35, 0.75))
    draw.rectangle((0, level, width, level + round(height * 0.09)), fill=_colour(random))
    draw.text((width // 10, level), "only today", fill=WHITE, font_size=max(8, round(height * 0.06)))
    return flat


def _screenshot(image: Image.Image, random: Random) -> Image.Image:
    """In an app's page: a bar above, and lines of text and a button below, light or dark."""
    width, height = image.size
    margin, above, below = (round(width * random.uniform(*share)) for share in ((0, 0.06), (0.1, 0.2), (0.2, 0.4)))
    paper, ink = random.choice((((255, 255, 255), (40, 40, 40)), ((24, 24, 28), (225, 225, 225))))
    page = Image.new("RGB", (width + 2 * margin, height + above + below), paper)
    page.paste(_flat(image), (margin, above))
    draw = ImageDraw.Draw(page)
    bar = max(8, above // 3)
    draw.text((bar, bar // 2), "12:41", fill=ink, font_size=bar)
    draw.rectangle((page.width - 3 * bar, bar // 2, page.width - bar, bar + bar // 2), outline=ink)
    line = max(6, below // 8)
    for number, share in enumerate((0.8, 0.55)):
        top = above + height + (2 * number + 1) * line
        draw.rectangle((0, top, round(page.width * share), top + line // 2), fill=ink)
    draw.rounded_rectangle((0, page.height - 3 * line, page.width, page.height - line), line, fill=_colour(random))
    return page


def _photo(image: Image.Image, random: Random) -> Image.Image:
    """A careless photo of it: 80 % of its area, turned by 15 degrees, darkened to 0.6."""
    part = _cropped(_flat(image), 0.8, random)
    return ImageEnhance.Brightness(_turned(part, random.choice((-15, 15)))).enhance(0.6)


def _colour(random: Random) -> Colour:
    return random.choice(((200, 30, 40), (20, 90, 200), (20, 130, 60), (230, 120, 0), (90, 30, 140)))


DISTORTIONS = {
    "crop": Distortion(_crop),
    "turn": Distortion(_turn),
    "mirror": Distortion(_mirror),
    "light": Distortion(_light),
    "blur": Distortion(_blur),
    "noise": Distortion(_noise),
    "jpeg": Distortion(_small, quality=15),
    "background": Distortion(_background),
    "overlay": Distortion(_overlay),
    "screenshot": Distortion(_screenshot, quality=80),
    "photo": Distortion(_photo, quality=20),
}
"""By name; the last does several at once."""
