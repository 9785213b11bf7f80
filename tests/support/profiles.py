"""Colour profiles of three primaries and three curves, and pictures in them."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

from PIL import Image, ImageCms

Primaries = tuple[tuple[float, float, float], ...]

DISPLAY_P3: Primaries = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB: Primaries = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
PROPHOTO: Primaries = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))
WHITE = (0.9642, 1.0, 0.8249)


def make_profile(primaries: Primaries, gamma: float, extra: Mapping[bytes, bytes] | None = None) -> bytes:
    """Return an ICC profile of RGB; primaries are XYZ under D50."""
    bodies = {name: _xyz(value) for name, value in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    return _write(b"RGB ", bodies | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)) | dict(extra or {}))


def make_grey_profile(gamma: float) -> bytes:
    """Return an ICC profile of grey."""
    return _write(b"GRAY", {b"kTRC": _curve(gamma)})


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _write(space: bytes, bodies: Mapping[bytes, bytes]) -> bytes:
    bodies = {b"wtpt": _xyz(WHITE), **bodies}
    offset, table, data = 128 + 4 + 12 * len(bodies), b"", b""
    for name, body in bodies.items():
        table += name + struct.pack(">II", offset + len(data), len(body))
        data += body
    size = offset + len(data)
    header = struct.pack(">I4s4s4s4s4s", size, b"lcms", b"\x02\x40\0\0", b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    header = header.ljust(68, b"\0") + _fixed(WHITE)
    return header.ljust(128, b"\0") + struct.pack(">I", len(bodies)) + table + data


def in_profile(image: Image.Image, profile: bytes, kind: str = "PNG", **options: object) -> bytes:
    """Return the file of an sRGB picture whose pixels are in a profile that it carries."""
    there = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    moved = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), there, ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    assert moved is not None
    buffer = io.BytesIO()
    moved.save(buffer, kind, icc_profile=profile, **options)
    return buffer.getvalue()


def _xyz(value: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(value)


def _fixed(value: tuple[float, ...]) -> bytes:
    return struct.pack(">3i", *(round(one * 65536) for one in value))


PROFILES = {
    "Display P3": make_profile(DISPLAY_P3, 2.2),
    "Adobe RGB": make_profile(ADOBE_RGB, 2.19921875),
    "ProPhoto": make_profile(PROPHOTO, 1.8),
}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
