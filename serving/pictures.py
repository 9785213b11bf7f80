"""Pictures by their first bytes: what a browser may be told they are, and how large they will be once decoded."""

from __future__ import annotations

import re

from data.errors import ImageRejectedError
from tasks.images import size_of

FREE_PIXELS = 2_000_000
"""As many pixels any picture may have, however few its bytes are."""
PIXELS_PER_BYTE = 200
"""Beyond, a byte may stand for so many: a blank JPEG has 64, a blank PNG, the very bomb, has 340."""

_TYPES = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"II\*\0|MM\0\*"), "image/tiff"),
    (re.compile(rb"BM"), "image/bmp"),
)


def content_type(data: bytes) -> str | None:
    """Return the type of a picture, None for anything that is not surely one: no HTML, no SVG with scripts."""
    return next((name for pattern, name in _TYPES if pattern.match(data)), None)


def check_pixels(data: bytes, max_pixels: int) -> None:
    """Raise `ImageRejectedError` for a picture that says to be larger than allowed, or than its bytes can mean."""
    width, height = size_of(data)
    pixels = width * height
    if pixels > max_pixels:
        raise ImageRejectedError(
            "too_many_pixels",
            f"the picture is {width}x{height}: send one of at most {max_pixels / 1e6:g} megapixels",
        )
    if pixels > max(FREE_PIXELS, PIXELS_PER_BYTE * len(data)):
        raise ImageRejectedError(
            "too_many_pixels",
            f"the picture is {width}x{height}, out of proportion to its {len(data):,} bytes: send a smaller one",
        )
