"""Colour profiles: a picture in Display P3, Adobe RGB or ProPhoto becomes the sRGB that everything else is in.

A profile comes with the picture, so it is as little trusted as its pixels. Only profiles of three primaries and three
curves are used, as cameras, phones and shops have them, and those of grey with one curve: others can be programs that
take minutes. A profile that is larger, damaged or of another kind is ignored.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

MAX_BYTES = 2**18
MAX_TAGS = 100
SAME = 2
"""Levels of 255: a profile that changes no colour by more is sRGB, and its pictures stay as they are."""
KEPT = 64
"""Profiles whose transforms are kept: a catalogue has a handful."""

RGB, GREY = "RGB", "L"
"""What pixels a profile is of, as Pillow calls them."""

_NEEDED = {
    b"RGB ": (RGB, {b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"}),
    b"GRAY": (GREY, {b"kTRC"}),
}
_TABLES = (b"A2B", b"D2B", b"B2D")
_CLASSES = {b"mntr", b"scnr", b"spac"}
_MARK = b"acsp"
_HEADER = 128
_IN_JPEG = b"ICC_PROFILE\0"
_GRID = (0, 64, 128, 192, 255)

Transform = ImageCms.ImageCmsTransform


def apply_profile(image: Image.Image, profile: bytes | None, mode: str = RGB) -> Image.Image:
    """Return an RGB picture in sRGB; without a profile that can be used, as it is. The picture may be changed.

    Args:
        mode: what the file's pixels were: a profile of others is not meant for them.
    """
    transform = find_transform(profile, mode) if profile and len(profile) <= MAX_BYTES else None
    if transform is None:
        return image
    try:
        return ImageCms.applyTransform(image.getchannel(0) if mode == GREY else image, transform) or image
    except (ImageCms.PyCMSError, ValueError):
        return image


@lru_cache(maxsize=KEPT)
def find_transform(profile: bytes, mode: str = RGB) -> Transform | None:
    """Return what turns pixels of a profile into sRGB, None where they are sRGB, or where it cannot be used."""
    if find_mode(profile) != mode:
        return None
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            RGB,
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
        return transform if _changes_colours(transform, mode) else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def find_mode(profile: bytes) -> str | None:
    """Return what pixels a profile is of; None unless it has nothing but what that takes: no tables, no programs."""
    if len(profile) < _HEADER + 4 or profile[36:40] != _MARK or profile[16:20] not in _NEEDED:
        return None
    (size,), (count,) = struct.unpack_from(">I", profile), struct.unpack_from(">I", profile, _HEADER)
    if size > len(profile) or count > MAX_TAGS or profile[12:16] not in _CLASSES:
        return None
    if len(profile) < _HEADER + 4 + 12 * count:
        return None
    names = {profile[_HEADER + 4 + 12 * place :][:4] for place in range(count)}
    mode, needed = _NEEDED[profile[16:20]]
    return mode if names >= needed and not any(name.startswith(_TABLES) for name in names) else None


def read_jpeg_profile(parts: Iterator[bytes]) -> bytes | None:
    """Return the profile in the bodies of a JPEG's APP2 segments, None where there is none that is whole."""
    found: dict[int, bytes] = {}
    total = size = 0
    for part in parts:
        if part.startswith(_IN_JPEG) and len(part) > len(_IN_JPEG) + 2:
            number, total = part[len(_IN_JPEG)], part[len(_IN_JPEG) + 1]
            found.setdefault(number, part[len(_IN_JPEG) + 2 :])
            size += len(part)
            if size > 2 * MAX_BYTES:
                return None
    numbers = range(1, total + 1)
    return b"".join(found[number] for number in numbers) if total and found.keys() >= set(numbers) else None


def read_png_profile(chunk: bytes) -> bytes | None:
    """Return the profile in the body of a PNG's iCCP chunk, None where it is larger than may be, or damaged."""
    _, mark, rest = chunk[:81].partition(b"\0")
    if not mark or rest[:1] != b"\0":
        return None
    packed = chunk[chunk.index(b"\0") + 2 :]
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed, MAX_BYTES + 1)
    except zlib.error:
        return None
    return profile if len(profile) <= MAX_BYTES else None


def _changes_colours(transform: Transform, mode: str) -> bool:
    colours = np.array(np.meshgrid(_GRID, _GRID, _GRID), np.uint8).reshape(3, -1).T[None]
    before = Image.linear_gradient(GREY) if mode == GREY else Image.fromarray(np.ascontiguousarray(colours))
    after = ImageCms.applyTransform(before, transform)
    if after is None:
        return False
    expected = np.asarray(before.convert(RGB)).astype(int)
    return bool(np.abs(np.asarray(after).astype(int) - expected).max() > SAME)
