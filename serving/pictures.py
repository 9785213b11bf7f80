"""Pictures by their first bytes: what a browser may be told they are, and how large they will be once decoded."""

from __future__ import annotations

import io
import re
import warnings

from PIL import Image

from data.errors import ImageRejectedError
from tasks.images import FORMATS

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
    """Raise `ImageRejectedError` for a picture that says to be larger; what cannot be read is left to the decoder."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRejectedError("too_many_pixels", f"the picture is too large: {error}") from error
    except Exception:  # noqa: BLE001 - damaged headers raise nearly anything, and the decoder has a word for each
        return
    if width * height > max_pixels:
        raise ImageRejectedError(
            "too_many_pixels",
            f"the picture is {width}x{height}: send one of at most {max_pixels / 1e6:g} megapixels",
        )


# Pillow warns of pictures between its own limit and twice that; ours is what counts.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
