"""Pictures by their first bytes: what a browser may be told they are."""

from __future__ import annotations

import re

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
