"""HEIC: read like every other format where its extra is installed, and asked for where it is not."""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from lookalike.data.errors import ImageRejectedError
from lookalike.tasks.images.decode import ImageLimits, decode
from lookalike.tasks.images.heic import can_read_heic, is_heic
from tests.support.pictures import drawing
from tests.support.profiles import PROFILES, in_profile

SIZES = b"ispe"  # where a HEIC says how large it is


def as_heic(image: Image.Image, **options: object) -> bytes:
    assert can_read_heic()
    buffer = io.BytesIO()
    image.save(buffer, "HEIF", **{"quality": 95, "chroma": 444, **options})
    return buffer.getvalue()


def distance(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of two pictures in levels."""
    return float(np.abs(np.asarray(one, int) - np.asarray(other, int)).mean())


def test_the_same_picture_in_heic() -> None:
    image = drawing(1).convert("RGB")
    found = decode(as_heic(image))
    assert (found.mode, found.size) == ("RGB", image.size)
    assert distance(found, image) < 2


def test_it_is_upright_and_lies_on_white() -> None:
    image = Image.new("RGB", (64, 48), "red")
    image.paste("blue", (32, 0, 64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(as_heic(image, exif=exif.tobytes()))
    assert turned.size == (48, 64)
    assert distance(turned, image.transpose(Image.Transpose.ROTATE_270)) < 2
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert np.asarray(decode(as_heic(clear))).min() > 250


@pytest.mark.parametrize("name", PROFILES)
def test_its_colour_profile_is_applied(name: str) -> None:
    image = drawing(2).convert("RGB")
    assert can_read_heic()
    assert distance(decode(in_profile(image, PROFILES[name], "HEIF", quality=95, chroma=444)), image) < 3


def test_a_film_or_a_burst_is_its_first_picture() -> None:
    first, second = drawing(3).convert("RGB"), drawing(4).convert("RGB")
    found = decode(as_heic(first, save_all=True, append_images=[second]))
    assert distance(found, first) < 2 < distance(found, second)


def rejected(data: bytes, limits: ImageLimits = ImageLimits()) -> str:  # noqa: B008 - it is frozen
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, limits=limits)
    return caught.value.reason


def test_what_is_damaged_or_too_large_is_refused() -> None:
    data = as_heic(drawing(5).convert("RGB"))
    assert [rejected(data[: len(data) * part // 8]) for part in range(1, 8)] == ["damaged"] * 7
    assert rejected(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") == "damaged"
    large = as_heic(Image.new("RGB", (400, 400)), quality=10)
    assert rejected(large, ImageLimits(free_pixels=1000, pixels_per_byte=1)) == "too_many_pixels"
    place = large.index(SIZES) + 8
    lie = large[:place] + struct.pack(">II", 64, 64) + large[place + 8 :]
    assert rejected(lie) == "damaged"


def test_what_says_heic() -> None:
    assert is_heic(b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafheic")
    assert not is_heic(b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafavif")
    assert not is_heic(b"\0\0\0\x10ftypavif\0\0\0\0heic")  # behind the box
    assert not is_heic(b"heic")


def test_without_the_extra_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = as_heic(drawing(6).convert("RGB"))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageRejectedError, match=r"pip install 'lookalike\[heic\]'") as caught:
        decode(data)
    assert caught.value.reason == "unsupported_format"
