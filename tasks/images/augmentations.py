"""Augmentations: what phones, screenshots, shops and social networks do to a picture of a product, made at build time.

The projection is learnt from the difference that they make to a vector (`lookalike.tasks.build.train`). They were
written without a look at the distortions that benchmarks test with, and must stay so: a benchmark that is learnt by
heart measures nothing.
"""

from __future__ import annotations

import hashlib
import io
import math
import string
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

VERSION = 1
"""Of all that is done here: vectors that another version gave are not mixed with new ones."""

MOST_PIXELS = 448  # of the longer side: twice what most encoders look at

Colour = tuple[int, int, int]
Augmentation = Callable[[Image.Image, np.random.Generator], Image.Image]

_GROUND_TOLERANCE = 24  # of 255 in each channel: what differs less from the border's colour is ground
_NARROWEST = 224  # pixels of a screen: lines of text need some
_FLOODED = 96  # pixels of the longer side
_PHONE = (9, 19.5)  # width and height of a phone's screen
_PAPER = (250, 250, 250)
_INK = (40, 40, 40)


def name_copy(image_hash: bytes, augmentation: str) -> bytes:
    """Return the name of a picture's copy, 32 bytes as a hash has them; it decides all that is drawn by lot."""
    return hashlib.sha256(f"{VERSION} {augmentation} ".encode() + image_hash).digest()


def augment(image: Image.Image, image_hash: bytes, augmentation: str) -> Image.Image:
    """Return another RGB picture of the same product. The same arguments give the same pixels."""
    lots = np.random.default_rng(int.from_bytes(name_copy(image_hash, augmentation)[:8], "big"))
    return AUGMENTATIONS[augmentation](image, lots)


def shrink(image: Image.Image) -> Image.Image:
    """Return a picture with sides of at most MOST_PIXELS: no encoder sees more of it."""
    if max(image.size) <= MOST_PIXELS:
        return image
    return _fit_into(image, (MOST_PIXELS, MOST_PIXELS))


def _crop(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """Somebody came close, and did not aim well."""
    width, height = (max(1, round(side * lots.uniform(0.6, 0.9))) for side in image.size)
    left, top = lots.integers(0, image.width - width + 1), lots.integers(0, image.height - height + 1)
    return image.crop((int(left), int(top), int(left) + width, int(top) + height))


def _turn(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """The phone was not held straight."""
    angle = lots.uniform(6, 28) * lots.choice([-1, 1])
    return image.rotate(angle, Image.Resampling.BICUBIC, expand=bool(lots.integers(2)), fillcolor=_border(image))


def _perspective(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """It was seen from one side."""
    width, height = image.size
    x, y = lots.uniform(-0.05, 0.2, (2, 4))
    corners = [
        (width * x[0], height * y[0]),
        (width * (1 - x[1]), height * y[1]),
        (width * (1 - x[2]), height * (1 - y[2])),
        (width * x[3], height * (1 - y[3])),
    ]
    coefficients = _find_perspective(corners, [(0, 0), (width, 0), (width, height), (0, height)])
    return image.transform(
        image.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC, fillcolor=_border(image)
    )


def _mirror(image: Image.Image, _lots: np.random.Generator) -> Image.Image:
    """A front camera, or a listing that was mirrored to look new."""
    return ImageOps.mirror(image)


def _scale(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """A thumbnail, enlarged again."""
    share = lots.uniform(40, 110) / max(image.size)
    small = image.resize(_scaled(image.size, min(1.0, share)), Image.Resampling.BILINEAR)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _light(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """Too dark, too bright, flat or hard light; half of the time from one side."""
    lit = ImageEnhance.Brightness(image).enhance(math.exp(lots.uniform(-0.8, 0.5)))
    lit = ImageEnhance.Contrast(lit).enhance(math.exp(lots.uniform(-0.6, 0.5)))
    if lots.integers(2):
        return lit
    slope = np.linspace(lots.uniform(0.35, 0.8), 1.0, lit.width if lots.integers(2) else lit.height)
    shade = np.broadcast_to(slope if len(slope) == lit.width else slope[:, None], (lit.height, lit.width))
    shade = shade[:, ::-1] if lots.integers(2) else shade
    return _from_floats(np.asarray(lit, np.float32) * shade[:, :, None])


def _cast(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """A lamp's colour, a filter of an application, or the colours washed out."""
    gains = np.exp(lots.uniform(-0.3, 0.3, 3))
    cast = _from_floats(np.asarray(image, np.float32) * gains)
    return ImageEnhance.Color(cast).enhance(lots.uniform(0.3, 1.6))


def _blur(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """Out of focus, or moved."""
    radius = max(image.size) * lots.uniform(0.006, 0.02)
    if lots.integers(2):
        return image.filter(ImageFilter.GaussianBlur(radius))
    steps = np.linspace(-2 * radius, 2 * radius, 9)
    angle = lots.uniform(0, math.pi)
    moved = [
        np.asarray(ImageChops.offset(image, round(math.cos(angle) * step), round(math.sin(angle) * step)), np.float32)
        for step in steps
    ]
    return _from_floats(np.mean(moved, axis=0))


def _noise(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """A small sensor in a dark room: grain, some of it in colour."""
    shape = (image.height, image.width, 3 if lots.integers(2) else 1)
    grain = lots.standard_normal(shape, np.float32) * lots.uniform(12, 45)
    return _from_floats(np.asarray(image, np.float32) + grain)


def _recompress(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """Sent on from chat to chat: smaller each time, and saved with little quality."""
    sent = image
    for _ in range(lots.integers(1, 4)):
        sent = sent.resize(_scaled(sent.size, lots.uniform(0.6, 1.0)), Image.Resampling.BILINEAR)
        sent = _save_as_jpeg(sent, int(lots.integers(12, 45)))
    return sent


def _ground(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """The product on another ground: a wall, a table, a carpet."""
    ground = _draw_ground(image.size, lots)
    ground.paste(image, mask=_find_product(image))
    return ground


def _margins(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """A small product in a large picture, off the middle; of a story, or of a room."""
    share = lots.uniform(0.4, 0.75)
    width, height = (round(side / share) for side in image.size)
    plain = Image.new("RGB", (width, height), _border(image))
    canvas = _draw_ground((width, height), lots) if lots.integers(2) else plain
    place = (int(lots.integers(0, width - image.width + 1)), int(lots.integers(0, height - image.height + 1)))
    canvas.paste(image, place)
    return canvas


def _overlay(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """A price, a badge, a watermark or a line of text over it; or a thumb."""
    over = image.copy()
    draw = ImageDraw.Draw(over, "RGBA")
    for _ in range(lots.integers(1, 4)):
        _OVERLAYS[lots.integers(len(_OVERLAYS))](draw, over.size, lots)
    return over


def _screenshot(image: Image.Image, lots: np.random.Generator) -> Image.Image:
    """A page or an application around it: bars, lines of text, buttons, and other pictures' frames."""
    dark = bool(lots.integers(3) == 0)
    paper, ink = (_INK, _PAPER) if dark else (_PAPER, _INK)
    width = max(_NARROWEST, *image.size)
    height = round(width * (_PHONE[1] / _PHONE[0] if lots.integers(2) else lots.uniform(0.6, 1.4)))
    screen = Image.new("RGB", (width, height), paper)
    shown = _fit_into(image, (round(width * lots.uniform(0.5, 1.0)), round(height * lots.uniform(0.45, 0.7))))
    left, top = (
        round((width - shown.width) * lots.uniform(0, 1)),
        round((height - shown.height) * lots.uniform(0.1, 0.5)),
    )
    draw = ImageDraw.Draw(screen, "RGBA")
    _draw_lines(draw, (0, 0, width, max(4, top)), lots, ink)
    _draw_lines(draw, (0, top + shown.height, width, height), lots, ink)
    draw.rectangle((0, 0, width, height * 0.04), fill=_colour(lots))
    screen.paste(shown, (left, top))
    return screen


AUGMENTATIONS: dict[str, Augmentation] = {
    "crop": _crop,
    "turn": _turn,
    "perspective": _perspective,
    "mirror": _mirror,
    "scale": _scale,
    "light": _light,
    "cast": _cast,
    "blur": _blur,
    "noise": _noise,
    "recompress": _recompress,
    "ground": _ground,
    "margins": _margins,
    "overlay": _overlay,
    "screenshot": _screenshot,
}
"""By name. Each picture gets one copy of each."""


def _draw_text(draw: ImageDraw.ImageDraw, size: tuple[int, int], lots: np.random.Generator) -> None:
    """A line of text, or a watermark that one can see through."""
    letters = "".join(lots.choice(list(string.ascii_letters + string.digits + "  "), lots.integers(4, 16)))
    font = ImageFont.load_default(max(8, size[1] * lots.uniform(0.07, 0.2)))
    place = (size[0] * lots.uniform(-0.1, 0.5), size[1] * lots.uniform(0, 0.85))
    draw.text(place, letters, font=font, fill=(*_colour(lots), int(lots.integers(110, 256))))


def _draw_bar(draw: ImageDraw.ImageDraw, size: tuple[int, int], lots: np.random.Generator) -> None:
    """A banner across it, with text."""
    height = size[1] * lots.uniform(0.1, 0.25)
    top = size[1] * lots.choice([0.0, 1.0, lots.uniform(0, 1)]) - height / 2
    draw.rectangle((0, top, size[0], top + height), fill=(*_colour(lots), int(lots.integers(150, 256))))
    letters = "".join(lots.choice(list(string.ascii_uppercase + string.digits + " "), 12))
    draw.text(
        (size[0] * 0.05, top + height * 0.2), letters, font=ImageFont.load_default(max(8, height * 0.6)), fill=_PAPER
    )


def _draw_badge(draw: ImageDraw.ImageDraw, size: tuple[int, int], lots: np.random.Generator) -> None:
    """A round or square sticker, often in a corner; or whatever lies before the product."""
    width, height = (side * lots.uniform(0.15, 0.4) for side in size)
    left, top = (side * lots.choice([0.02, 0.6, lots.uniform(0, 0.7)]) for side in size)
    shape = draw.ellipse if lots.integers(2) else draw.rectangle
    shape((left, top, left + width, top + height), fill=_colour(lots))
    font = ImageFont.load_default(max(8, height * 0.4))
    draw.text((left + width * 0.15, top + height * 0.3), f"-{lots.integers(5, 90)}%", font=font, fill=_PAPER)


_OVERLAYS = (_draw_text, _draw_bar, _draw_badge)


def _draw_lines(
    draw: ImageDraw.ImageDraw,
    box: tuple[float, float, float, float],
    lots: np.random.Generator,
    ink: Colour,
) -> None:
    """Fill a part of a screen with lines of text and buttons."""
    left, top, right, bottom = box
    while top < bottom - 12:
        height = float(lots.uniform(10, 26))
        if lots.integers(5) == 0:
            draw.rounded_rectangle((left + 10, top, right - 10, top + height), 6, fill=_colour(lots))
        else:
            words = "".join(lots.choice(list(string.ascii_lowercase + "    "), lots.integers(5, 40)))
            draw.text((left + 10, top), words, font=ImageFont.load_default(height * 0.7), fill=ink)
        top += height * float(lots.uniform(1.1, 2.0))


def _draw_ground(size: tuple[int, int], lots: np.random.Generator) -> Image.Image:
    """Return a plain colour, one that runs into another, or a texture of rough patches."""
    width, height = size
    one, other = (np.array(_colour(lots), np.float32) for _ in range(2))
    kind = lots.integers(3)
    if kind == 0:
        return Image.new("RGB", size, tuple(map(int, one)))
    if kind == 1:
        share = np.linspace(0, 1, height)[:, None, None] * np.ones((1, width, 1))
    else:
        cells = lots.random((lots.integers(3, 24), lots.integers(3, 24)), np.float32)
        share = np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC))[:, :, None]
    return _from_floats(one * (1 - share) + other * share)


def _find_product(image: Image.Image) -> Image.Image:
    """Return a mask of what is not ground: ground is what looks like the border and reaches it from there.

    What reaches the border is found on a small copy, as that takes a step of Python for each pixel.
    """
    colour = np.array(_border(image), np.int16)
    small = ImageOps.expand(_fit_into(image, (_FLOODED, _FLOODED)), 1, _border(image))
    alike = Image.fromarray(_is_alike(small, colour).astype(np.uint8)).copy()  # an array's pixels cannot be changed
    ImageDraw.floodfill(alike, (0, 0), 2)
    reached = Image.fromarray(np.where(np.asarray(alike)[1:-1, 1:-1] == 2, 255, 0).astype(np.uint8))
    reached = reached.filter(ImageFilter.MaxFilter(3)).resize(image.size, Image.Resampling.NEAREST)
    ground = _is_alike(image, colour) & (np.asarray(reached) > 0)
    return Image.fromarray(np.where(ground, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))


def _is_alike(image: Image.Image, colour: NDArray[np.int16]) -> NDArray[np.bool_]:
    difference: NDArray[np.int16] = np.abs(np.asarray(image, np.int16) - colour)
    return np.asarray(difference.max(axis=2) <= _GROUND_TOLERANCE)


def _border(image: Image.Image) -> Colour:
    """Return the colour that most of the border has: the median of each channel."""
    pixels = np.asarray(image)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(edge, axis=0).astype(int).tolist()
    return red, green, blue


def _colour(lots: np.random.Generator) -> Colour:
    red, green, blue = lots.integers(0, 256, 3).tolist()
    return red, green, blue


def _fit_into(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a picture as large as fits into a size, with sides of at least a pixel."""
    share = min(size[0] / image.width, size[1] / image.height)
    width, height = (max(1, round(side * share)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _scaled(size: tuple[int, int], share: float) -> tuple[int, int]:
    return max(2, round(size[0] * share)), max(2, round(size[1] * share))


def _save_as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def _from_floats(pixels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _find_perspective(seen: list[tuple[float, float]], whole: list[tuple[float, float]]) -> tuple[float, ...]:
    """Return the eight coefficients that Pillow takes to show the corners `whole` at `seen`."""
    rows, values = [], []
    for (x, y), (u, v) in zip(seen, whole, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return tuple(np.linalg.solve(np.array(rows), np.array(values)).tolist())
