from __future__ import annotations

import io
import random
import time
from collections.abc import Callable

import pytest
from PIL import Image

from lookalike.data.errors import ImageRejectedError
from lookalike.tasks.images.decode import decode
from lookalike.tasks.images.sanitize import MAX_CHUNKS, MAX_SCANS, MAX_SEGMENTS, strip_metadata
from tests.support import bombs

TURNED = 6


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = TURNED
    return found


def noise(mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((60, 40), 90).convert(mode)


def refused(data: bytes) -> str:
    with pytest.raises(ImageRejectedError) as caught:
        decode(data)
    return str(caught.value)


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGBA").tobytes()


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "PNG", {}), ("RGBA", "PNG", {}), ("L", "PNG", {"transparency": 7}), ("P", "PNG", {"transparency": 0}),
        ("RGB", "JPEG", {}), ("L", "JPEG", {}), ("CMYK", "JPEG", {}), ("RGB", "JPEG", {"progressive": True}),
        ("RGB", "JPEG", {"restart_marker_blocks": 1}), ("RGB", "JPEG", {"keep_rgb": True}), ("RGB", "BMP", {}),
        ("RGB", "GIF", {}), ("RGB", "WEBP", {}), ("RGB", "TIFF", {}),
    ],
)  # fmt: skip
def test_a_lean_picture_has_the_same_pixels(mode: str, kind: str, options: dict[str, object]) -> None:
    data = bombs.saved(noise(mode), kind, **options)
    assert pixels(strip_metadata(data)) == pixels(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_metadata_goes_and_which_way_is_up_stays(kind: str) -> None:
    data = bombs.saved(noise(), kind, exif=exif(), icc_profile=b"p" * 50_000, comment="c" * 1000)
    slim = strip_metadata(data)
    assert len(slim) < len(data) - 80
    assert pixels(slim) == pixels(data)
    assert decode(slim).size == (40, 60)


def test_xmp_in_a_text_chunk_says_which_way_is_up() -> None:
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'
    data = bombs.png(60, 40, extra=bombs.chunk(b"iTXt", xmp))
    assert decode(data).size == (40, 60)


def test_bytes_between_the_segments_of_a_jpeg_are_skipped() -> None:
    data = bombs.saved(noise(), "JPEG")
    assert pixels(strip_metadata(data[:2] + b"\xff\xff\xff" + data[3:])) == pixels(data)
    padded = data[:20] + b"\0\0junk" + data[20:]
    assert strip_metadata(padded) == strip_metadata(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_any_piece_of_a_file_is_left_to_the_decoder(kind: str) -> None:
    data = bombs.saved(noise(), kind, exif=exif())
    for length in range(len(data)):
        assert len(strip_metadata(data[:length])) <= length


def test_run_lengths_are_refused() -> None:
    assert "run lengths" in refused(bombs.bmp_runs(4, 4, b"\1\5" * 16))
    assert "run lengths" in refused(bombs.bmp_runs(24_000_000, 2, b"\0\2\0\xff"))


def test_more_scans_than_anybody_writes() -> None:
    assert "scans" in refused(bombs.jpeg_scans(64, MAX_SCANS))
    assert decode(bombs.jpeg_scans(64, MAX_SCANS - 20)).size == (64, 64)
    assert "scans" in refused(bombs.jpeg_scans(4000, 40))  # fewer, but of many pixels


def test_a_motion_photo_is_read() -> None:
    photo = bombs.saved(noise(), "JPEG", exif=exif())
    film = random.Random(1).randbytes(2**20) + b"\xff\xda" * MAX_SCANS + b"\xff\xd9"
    assert decode(photo + film).size == (40, 60)
    assert strip_metadata(photo + film) == strip_metadata(photo)


def test_a_thumbnail_is_no_scan() -> None:
    thumbnail = b"Exif\0\0" + bombs.saved(noise(), "JPEG")
    data = bombs.jpeg_scans(64, MAX_SCANS - 10)  # with ten of its own, as many as there may be
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2) + thumbnail
    assert decode(data[:2] + segment + data[2:]).size == (64, 64)


@pytest.mark.parametrize("hidden", [b"\xff\x02\xff\xff", b"\xff\xff\xff", b"\xff\xd0\xff\xff", b"\xff\xe5\0\0"])
def test_no_scan_hides_from_being_counted(hidden: bytes) -> None:
    data = bombs.jpeg_scans(64, MAX_SCANS)
    second = data.find(b"\xff\xda", data.find(b"\xff\xda") + 2)
    assert "scans" in refused(data[:second] + hidden + data[second:])


def test_a_jpeg_without_an_end_is_still_cut_off() -> None:
    data = bombs.saved(noise(), "JPEG")
    half = data[: len(data) // 2]
    assert strip_metadata(half) == half
    assert "cut off" in refused(half)


def test_more_segments_than_anybody_writes() -> None:
    assert "segments" in refused(bombs.jpeg_metadata(MAX_SEGMENTS, b""))


def test_more_chunks_than_anybody_writes() -> None:
    assert "chunks" in refused(bombs.png_of_crumbs(MAX_CHUNKS))


@pytest.mark.parametrize("side", [2048, 4096])
def test_a_tile_larger_than_its_picture(side: int) -> None:
    assert "tiles" in refused(bombs.tiff_tile(side))


def test_tiles_may_be_a_little_larger() -> None:
    assert decode(bombs.tiff_tile(256)).size == (16, 16)


def test_strips_that_are_the_same_bytes() -> None:
    assert "more bytes than the file" in refused(bombs.tiff_shared_strips(100, 100_000))


@pytest.mark.parametrize(
    "make",
    [
        lambda: bombs.png_profiles(2000), lambda: bombs.png_texts(2000), lambda: bombs.png_texts(2000, b"iTXt"),
        lambda: bombs.png_orientations(2000), lambda: bombs.jpeg_metadata(3000, b"Exif\0\0".ljust(1990, b"x")),
    ],
    ids=["ICC", "zTXt", "iTXt", "XMP", "EXIF"],
)  # fmt: skip
def test_metadata_is_not_inflated(make: Callable[[], bytes]) -> None:
    """Each took seconds where Pillow saw all of it."""
    data = make()
    start = time.process_time()
    assert decode(data).size == (16, 16)
    assert time.process_time() - start < 0.5
