"""Colour profiles: one picture in four of them gives the same pixels; what cannot be trusted changes nothing."""

from __future__ import annotations

import io
import random
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from lookalike.tasks.images.decode import decode
from lookalike.tasks.images.profiles import GREY, MAX_BYTES, RGB, find_mode, find_transform
from tests.support.pictures import drawing
from tests.support.profiles import ADOBE_RGB, PROFILES, SRGB, in_profile, make_grey_profile, make_profile


def distance(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of two pictures in levels."""
    return float(np.abs(np.asarray(one, int) - np.asarray(other, int)).mean())


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"lossless": True}), ("TIFF", {}),
     ("AVIF", {"quality": 95, "subsampling": "4:4:4"})],
)  # fmt: skip
@pytest.mark.parametrize("name", PROFILES)
def test_a_picture_in_a_profile_is_the_picture(name: str, kind: str, options: dict[str, object]) -> None:
    image = drawing(1).convert("RGB")
    ignored = decode(in_profile(image, PROFILES[name], kind, **options).replace(b"rXYZ", b"rxyz"))
    found = decode(in_profile(image, PROFILES[name], kind, **options))
    assert distance(found, image) < 2.5
    if kind == "TIFF":  # where the profile stands as it is, a broken name shows what it changes
        assert distance(found, image) < 0.3 * distance(ignored, image)


def test_transparent_pictures_stay_on_white() -> None:
    image = drawing(2).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    data = saved(image, icc_profile=PROFILES["Adobe RGB"])
    assert np.asarray(decode(data))[0, 0].min() >= 250


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_grey_picture_in_a_profile_is_the_picture(kind: str, gamma: float) -> None:
    image, profile = drawing(7).convert("L"), make_grey_profile(gamma)
    linear = np.asarray(image) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    there = Image.fromarray(np.rint(255 * linear ** (1 / gamma)).astype(np.uint8))
    found = decode(saved(there, kind, icc_profile=profile))
    assert distance(found, image.convert("RGB")) < 2.5
    assert distance(there, image) > 4
    clear = there.convert("LA")
    assert distance(decode(saved(clear, "PNG", icc_profile=profile)), found) < 2.5


def test_a_profile_is_for_pixels_of_its_kind() -> None:
    """One of colours does not fit a grey picture, nor the other way round."""
    grey, colours = drawing(8).convert("L"), drawing(8).convert("RGB")
    assert find_mode(make_grey_profile(1.0)) == GREY
    assert decode(saved(grey, icc_profile=PROFILES["ProPhoto"])).tobytes() == grey.convert("RGB").tobytes()
    assert decode(saved(colours, icc_profile=make_grey_profile(1.0))).tobytes() == colours.tobytes()


def test_srgb_changes_nothing() -> None:
    assert find_mode(SRGB) == RGB
    assert find_transform(SRGB) is None
    image = drawing(3).convert("RGB")
    assert decode(saved(image, icc_profile=SRGB)).tobytes() == decode(saved(image)).tobytes()


BAD = {
    "empty": b"",
    "text": b"x" * 500,
    "only a head": PROFILES["ProPhoto"][:128],
    "cut off": PROFILES["ProPhoto"][:-20],
    "too large": make_profile(ADOBE_RGB, 2.2, {b"zzzz": bytes(MAX_BYTES)}),
    "of grey": PROFILES["ProPhoto"].replace(b"RGB ", b"GRAY"),
    "of CMYK": PROFILES["ProPhoto"].replace(b"RGB ", b"CMYK"),
    "a table": make_profile(ADOBE_RGB, 2.2, {b"A2B0": b"mft2" + bytes(100)}),
    "a program": make_profile(ADOBE_RGB, 2.2, {b"D2B0": b"mpet" + bytes(100)}),
    "a million tags": PROFILES["ProPhoto"][:128] + struct.pack(">I", 10**6) + PROFILES["ProPhoto"][132:],
    "tags outside": PROFILES["ProPhoto"].replace(b"rTRC\0\0", b"rTRC\x7f\x7f"),
    "a size too large": b"\x7f" + PROFILES["ProPhoto"][1:],
}


@pytest.mark.parametrize("profile", BAD.values(), ids=BAD)
def test_a_bad_profile_is_ignored(profile: bytes) -> None:
    image = drawing(4).convert("RGB")
    assert decode(saved(image, icc_profile=profile)).tobytes() == image.tobytes()
    plain = decode(saved(image, "JPEG")).tobytes()
    assert decode(saved(image, "JPEG", icc_profile=profile)).tobytes() == plain


def test_mutated_profiles_never_raise() -> None:
    image, chance = saved(drawing(5).convert("RGB"), "TIFF", icc_profile=PROFILES["Display P3"]), random.Random(7)
    start = image.index(b"acsp") - 36
    began = time.monotonic()
    for _ in range(300):
        data = bytearray(image)
        for _ in range(chance.randint(1, 8)):
            data[start + chance.randrange(len(PROFILES["Display P3"]))] = chance.randrange(256)
        assert decode(bytes(data)).mode == "RGB"
    assert time.monotonic() - began < 20


def test_a_profile_that_inflates_to_gigabytes_is_not_inflated() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    image = drawing(6).convert("RGB")
    plain = saved(image)
    bomb = chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(200_000_000), 9))
    began = time.process_time()
    assert decode(plain[:33] + bomb + plain[33:]).tobytes() == image.tobytes()
    assert time.process_time() - began < 1
