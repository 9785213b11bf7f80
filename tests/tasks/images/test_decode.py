from __future__ import annotations

import io
import random
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lookalike.data.errors import ImageRejectedError
from lookalike.tasks.images.decode import FORMATS, REASONS, ImageLimits, decode
from tests.support import bombs

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def quarters(width: int = 64, height: int = 48) -> Image.Image:
    """Red, green, blue and white, clockwise from the top left."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (width // 2, height // 2, width, height))
    image.paste(WHITE, (0, height // 2, width // 2, height))
    return image


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """The colours near the corners, clockwise from the top left, rounded to the pure ones."""
    width, height = image.size
    points = [(width // 8, height // 8), (width * 7 // 8, height // 8)]
    points += [(width * 7 // 8, height * 7 // 8), (width // 8, height * 7 // 8)]
    pixels = np.asarray(image)
    return [tuple(255 if int(value) > 127 else 0 for value in pixels[y, x]) for x, y in points]


def rejected(data: bytes, limits: ImageLimits | None = None) -> str:
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, limits=limits or ImageLimits())
    assert caught.value.reason in REASONS
    assert str(caught.value)
    return caught.value.reason


def png_header(width: int, height: int) -> bytes:
    """A PNG that says its size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format_", FORMATS)
def test_each_format(format_: str) -> None:
    image = decode(saved(quarters(), format_))

    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert corners(image) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"this is a text that somebody named .png", "not_an_image"),
        (b"\0" * 5000, "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format"),
        (b"<?xml version='1.0'?>\n<svg/>", "unsupported_format"),
        (b"%PDF-1.7\n", "unsupported_format"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", "unsupported_format"),
        (b"\xff\xd8\xff", "damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"BM", "damaged"),
    ],
)
def test_what_is_no_picture(data: bytes, reason: str) -> None:
    assert rejected(data) == reason


@pytest.mark.parametrize("format_", ["ICO", "PPM", "TGA"])
def test_other_formats_of_pillow_are_out_of_reach(format_: str) -> None:
    assert rejected(saved(quarters(), format_)) in {"unsupported_format", "not_an_image"}


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_cut_off(format_: str) -> None:
    noise = Image.effect_noise((200, 200), 90).convert("RGB")
    data = saved(noise, format_)

    assert rejected(data[: len(data) // 2]) == "damaged"


def test_size_limits() -> None:
    assert rejected(saved(Image.new("RGB", (1, 1)), "PNG")) == "too_small"
    assert rejected(saved(Image.new("RGB", (500, 1)), "PNG")) == "too_small"
    assert decode(saved(Image.new("RGB", (2, 2)), "PNG")).size == (2, 2)
    assert rejected(saved(quarters(), "PNG"), ImageLimits(max_bytes=10)) == "too_many_bytes"
    assert rejected(saved(quarters(), "PNG"), ImageLimits(max_pixels=64 * 48 - 1)) == "too_many_pixels"
    assert decode(saved(quarters(), "PNG"), limits=ImageLimits(max_pixels=64 * 48)).size == (64, 48)


def test_pixels_out_of_proportion_to_the_bytes() -> None:
    blank = saved(Image.new("RGB", (200, 100)), "PNG")
    stingy = ImageLimits(free_pixels=1000, pixels_per_byte=20_000 // len(blank))
    assert rejected(blank, stingy) == "too_many_pixels"
    assert decode(blank, limits=replace(stingy, pixels_per_byte=20_000 // len(blank) + 1)).size == (200, 100)
    assert decode(blank, limits=replace(stingy, free_pixels=20_000)).size == (200, 100)
    assert decode(blank, limits=replace(stingy, pixels_per_byte=None)).size == (200, 100)


@pytest.mark.parametrize(("width", "height"), [(9000, 8000), (10_000, 10_000), (20_000, 10_000), (60_000, 60_000)])
def test_a_huge_picture_is_rejected_before_it_is_decoded(width: int, height: int) -> None:
    assert rejected(png_header(width, height)) == "too_many_pixels"


def test_a_huge_real_picture_is_rejected() -> None:
    assert rejected(saved(Image.new("1", (20_000, 10_000)), "PNG", compress_level=1)) == "too_many_pixels"


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(format_: str, orientation: int) -> None:
    undo = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = quarters()
    for step in undo[orientation]:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation

    image = decode(saved(stored, format_, exif=exif))

    assert image.size == (64, 48)
    assert corners(image) == [RED, GREEN, BLUE, WHITE]


def test_broken_exif_does_not_matter() -> None:
    for exif in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40):
        assert decode(saved(quarters(), "JPEG", exif=exif)).size == (64, 48)


@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_cmyk(format_: str) -> None:
    ink = quarters().convert("CMYK")

    assert corners(decode(saved(ink, format_))) == [RED, GREEN, BLUE, WHITE]


def ramp(high: int) -> np.ndarray:
    return np.linspace(0, high, 256).round().astype(np.uint16).reshape(1, 256).repeat(4, axis=0)


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format_: str) -> None:
    image = decode(saved(Image.fromarray(ramp(65535)), format_))

    row = np.asarray(image)[0, :, 0]
    assert (row == np.arange(256)).all()


def test_32_bit_tiffs() -> None:
    wide = ramp(65535)
    cases: list[np.ndarray] = [
        wide.astype(np.int32),
        (wide / 65535.0).astype(np.float32),
        (wide / 257.0).astype(np.float32),
        (wide * 1000.0 - 5e6).astype(np.float32),
    ]
    for values in cases:
        row = np.asarray(decode(saved(Image.fromarray(values), "TIFF")))[0, :, 0]
        assert (np.abs(row.astype(int) - np.arange(256)) <= 1).all(), values.dtype


def test_floats_that_are_no_numbers() -> None:
    values = np.full((4, 4), np.nan, dtype=np.float32)
    values[0, 0] = np.inf

    assert decode(saved(Image.fromarray(values), "TIFF")).size == (4, 4)


def png_of_rows(depth: int, colour: int, row: bytes, width: int, key: bytes = b"") -> bytes:
    """A PNG such as Pillow cannot write: four times the same row, and which colour is transparent."""
    header = struct.pack(">IIBBBBB", width, 4, depth, colour, 0, 0, 0)
    chunks = bombs.chunk(b"IHDR", header) + (bombs.chunk(b"tRNS", key) if key else b"")
    body = zlib.compress((b"\0" + row) * 4)
    return b"\x89PNG\r\n\x1a\n" + chunks + bombs.chunk(b"IDAT", body) + bombs.chunk(b"IEND", b"")


def test_16_bit_colour() -> None:
    row = struct.pack(">3H", 65535, 32768, 0) * 4

    assert decode(png_of_rows(16, 2, row, 4)).getpixel((1, 1)) == (255, 128, 0)


def transparent(mode: str) -> Image.Image:
    """Opaque black on the left, transparent black on the right."""
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 4, 8))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = decode(saved(transparent(mode), "TIFF" if mode == "PA" else "PNG"))

    assert image.getpixel((1, 4)) == (0, 0, 0)
    assert image.getpixel((6, 4)) == WHITE


@pytest.mark.parametrize("format_", ["PNG", "GIF"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_palette_with_transparency(format_: str, *, as_bytes: bool) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.paste(1, (4, 0, 8, 8))
    transparency: int | bytes = b"\xff\x00" if as_bytes and format_ == "PNG" else 1

    flat = decode(saved(image, format_, transparency=transparency))

    assert flat.getpixel((1, 4)) == (0, 0, 0)
    assert flat.getpixel((6, 4)) == WHITE


def test_half_transparent_is_mixed_with_white() -> None:
    pixel = decode(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")).getpixel((1, 1))

    assert pixel == (127, 127, 127)


def test_colour_key_transparency() -> None:
    image = Image.new("RGB", (4, 4), (1, 2, 3))

    assert decode(saved(image, "PNG", transparency=(1, 2, 3))).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize(
    ("depth", "colour", "row", "key", "other"),
    [
        (1, 0, b"\x55", b"\0\0", WHITE),
        (1, 0, b"\xaa", b"\0\1", (0, 0, 0)),
        (2, 0, b"\x63\x63", b"\0\1", (170,) * 3),
        (4, 0, b"\x78\x78\x78\x78", b"\0\7", (136,) * 3),
        (8, 0, b"\x07\x08" * 4, b"\0\7", (8,) * 3),
        (16, 0, b"\x00\x07\x80\x80" * 4, b"\0\7", (128,) * 3),
        (16, 2, b"\x12\x34" * 3 + b"\x80\x80" * 3 + b"\x12\x34" * 18, b"\x12\x34" * 3, (128,) * 3),
    ],
)
def test_colour_key_transparency_at_each_depth(
    depth: int, colour: int, row: bytes, key: bytes, other: tuple[int, ...]
) -> None:
    image = decode(png_of_rows(depth, colour, row, 8, key))

    assert image.getpixel((0, 0)) == WHITE
    assert image.getpixel((1, 0)) == other
    assert decode(png_of_rows(depth, colour, row, 8)).getpixel((1, 0)) == other


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_other_modes(mode: str) -> None:
    image = decode(saved(Image.new("RGB", (4, 4), WHITE).convert(mode), "PNG"))

    assert (image.mode, image.getpixel((0, 0))) == ("RGB", WHITE)


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(format_: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    data = saved(frames[0], format_, save_all=True, append_images=frames[1:])

    assert corners(decode(data))[0] == RED


def test_mpo_as_cameras_write_it() -> None:
    data = saved(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))])

    assert corners(decode(data)) == [RED, GREEN, BLUE, WHITE]
    assert corners(decode(data, target=16)) == [RED, GREEN, BLUE, WHITE]


def test_scaled_decode_of_a_large_jpeg() -> None:
    data = saved(quarters(1600, 1200), "JPEG")

    small = decode(data, target=224)

    assert small.size == (800, 600)
    assert corners(small) == [RED, GREEN, BLUE, WHITE]
    assert decode(data).size == (1600, 1200)
    assert min(decode(data, target=600).size) >= 600
    assert min(decode(data, target=5000).size) == 1200


def test_pixels_are_counted_before_a_jpeg_is_scaled() -> None:
    with pytest.raises(ImageRejectedError, match="megapixels"):
        decode(saved(quarters(1600, 1200), "JPEG"), limits=ImageLimits(max_pixels=1_000_000), target=224)


def mutations(data: bytes, rng: random.Random, count: int) -> list[bytes]:
    return [rng.choice(MUTATIONS)(data, rng) for _ in range(count)]


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 12)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _flip_header(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(min(80, len(changed)))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data))]


def _remove(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randint(1, 40) :] or b"?"


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start : start + 30] * rng.randint(2, 5) + data[start:]


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [_flip, _flip_header, _cut, _remove, _repeat]


@pytest.mark.parametrize("format_", [*FORMATS, "TIFF-LZW", "PNG-P", "GIF-ANIMATED", "WEBP-ANIMATED"])
def test_damaged_files_are_rejected_or_decoded_and_nothing_else(format_: str) -> None:
    rng = random.Random(format_)
    kind, _, variant = format_.partition("-")
    exif = Image.Exif()
    exif[0x0112] = 6
    options: dict[str, object] = {"exif": exif} if kind in {"JPEG", "PNG", "WEBP", "TIFF"} else {}
    image = quarters()
    if variant == "LZW":
        options["compression"] = "tiff_lzw"
    elif variant == "P":
        image = image.quantize(7)
        options["transparency"] = 3
    elif variant == "ANIMATED":
        options |= {"save_all": True, "append_images": [Image.new("RGB", (64, 48), BLUE)]}
    limits = ImageLimits(max_pixels=1_000_000)

    for data in mutations(saved(image, kind, **options), rng, 150):
        assert outcome(data, limits, rng.choice((None, 16))) in {"RGB", *REASONS}


def outcome(data: bytes, limits: ImageLimits, target: int | None) -> str:
    try:
        return decode(data, limits=limits, target=target).mode
    except ImageRejectedError as error:
        return error.reason


def test_no_warning_and_no_change_to_pillow_in_many_threads() -> None:
    before = Image.MAX_IMAGE_PIXELS
    data = [png_header(10_000, 10_000), saved(transparent("RGBA"), "PNG"), saved(quarters(), "JPEG")]

    def attempt(index: int) -> bool:
        try:
            return decode(data[index % 3]).mode == "RGB"
        except ImageRejectedError:
            return index % 3 == 0

    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("always")
        assert all(pool.map(attempt, range(300)))

    assert not caught
    assert before == Image.MAX_IMAGE_PIXELS


def test_warnings_that_become_errors_later_are_ignored_as_well() -> None:
    """A filter that is added later comes before ours."""
    large = png_header(10_000, 10_000)  # Pillow warns of it
    with warnings.catch_warnings():
        assert outcome(large, ImageLimits(), None) == "too_many_pixels"
        warnings.simplefilter("error")
        assert outcome(large, ImageLimits(), None) == "too_many_pixels"


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"optimize": True}, {"subsampling": 0}, {"quality": 30}]
)
@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("target", [None, 16])
def test_a_jpeg_without_its_end_marker_is_used(options: dict[str, object], cut: int, target: int | None) -> None:
    whole = saved(Image.effect_noise((200, 120), 80).convert("RGB"), "JPEG", **options)
    assert decode(whole[:-cut], target=target).tobytes() == decode(whole, target=target).tobytes()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.9, 0.97, 0.99])
def test_a_jpeg_that_lacks_pixels_is_damaged(options: dict[str, object], share: float) -> None:
    whole = saved(Image.effect_noise((200, 120), 80).convert("RGB"), "JPEG", **options)
    assert rejected(whole[: int(share * len(whole))]) == "damaged"
    assert rejected(whole[:-12]) == "damaged"


def test_a_jpeg_that_lacks_whole_scans_is_damaged() -> None:
    """Cut between two scans, or in the head of one, it has all pixels, but not all of their bits."""
    whole = saved(Image.effect_noise((200, 120), 80).convert("RGB"), "JPEG", progressive=True)
    scans = [found.start() for found in re.finditer(rb"\xff\xda\x00[\x08\x0c]", whole)]
    assert len(scans) > 5
    for start in scans:
        for more in (0, 1, 5, 11, 12):
            assert rejected(whole[: start + more]) == "damaged", (start, more)
    assert decode(whole[:-2]).tobytes() == decode(whole).tobytes()


def test_a_jpeg_that_lacks_its_white_half_is_damaged() -> None:
    image = Image.new("RGB", (400, 400), "white")
    image.paste(Image.effect_noise((400, 200), 80).convert("RGB"))
    whole = saved(image, "JPEG")
    assert rejected(whole[: int(0.98 * len(whole))]) == "damaged"


def test_avif_is_read_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(quarters(), "AVIF", quality=95, exif=exif)
    found = decode(data)
    assert found.size == (48, 64)
    assert corners(found) == [WHITE, RED, GREEN, BLUE]
    assert rejected(data[: len(data) // 2]) == "damaged"
    assert rejected(saved(quarters(3000, 3000), "AVIF"), ImageLimits(pixels_per_byte=200)) == "too_many_pixels"
