"""Pictures that cost far more than their bytes: small files that ask a decoder for gigabytes or for minutes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping

from PIL import Image

SIDE = 7000
"""49 megapixels: just under what a query picture may have."""
_MEBIBYTE = b"\0" * (2**20 - 1)


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, extra: bytes = b"", channels: int = 3, interlaced: bool = False) -> bytes:
    """Return a blank PNG, `extra` chunks before its pixels."""
    packer = zlib.compressobj(9)
    sizes = _passes(width, height) if interlaced else [(width, height)]
    rows = (bytes(1 + across * channels) for across, down in sizes for _ in range(down))
    body = b"".join(packer.compress(row) for row in rows) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _passes(width: int, height: int) -> list[tuple[int, int]]:
    """Return the sizes of Adam7's seven pictures."""
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    return [(-((left - width) // across), -((top - height) // down)) for left, top, across, down in steps]


def png_profiles(count: int) -> bytes:
    """Return a PNG whose ICC profiles inflate to a mebibyte each."""
    return png(16, 16, extra=chunk(b"iCCP", b"icc\0\0" + zlib.compress(_MEBIBYTE, 9)) * count)


def png_texts(count: int, kind: bytes = b"zTXt") -> bytes:
    """Return a PNG whose texts inflate to a mebibyte each."""
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0"}[kind]
    return png(16, 16, extra=chunk(kind, head + zlib.compress(_MEBIBYTE, 9)) * count)


def png_orientations(count: int) -> bytes:
    """Return a PNG with many texts of the kind that may say which way is up."""
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(_MEBIBYTE, 9)
    return png(16, 16, extra=chunk(b"iTXt", body) * count)


def png_of_crumbs(count: int) -> bytes:
    """Return a PNG with so many chunks of no pixels."""
    return png(16, 16, extra=chunk(b"IDAT", b"") * count)


def tiff_tile(side: int) -> bytes:
    """Return a TIFF of 16 by 16 pixels, in one tile that is `side` pixels square."""
    packer = zlib.compressobj(9)
    tile = b"".join(packer.compress(bytes(side)) for _ in range(side)) + packer.flush()
    return _tiff(16, 16, [(322, side), (323, side), (324, 8), (325, len(tile))], tile)


def tiff_shared_strips(height: int, size: int) -> bytes:
    """Return a TIFF each of whose rows is one and the same strip of `size` bytes."""
    strip = zlib.compress(bytes(1000), 9).ljust(size, b"\0")
    offsets = struct.pack(f"<{height}L", *[8] * height)
    sizes = struct.pack(f"<{height}L", *[size] * height)
    tags = [(273, 8 + size), (278, 1), (279, 8 + size + len(offsets))]
    return _tiff(1000, height, tags, strip + offsets + sizes, counts={273: height, 279: height})


def _tiff(
    width: int, height: int, tags: list[tuple[int, int]], body: bytes, counts: Mapping[int, int] | None = None
) -> bytes:
    """Return a grey TIFF with deflate; `counts` of the tags whose value is an offset."""
    basic = [(256, width), (257, height), (258, 8), (259, 8), (262, 1), (277, 1)]
    entries = sorted([*basic, *tags])
    written = b"".join(struct.pack("<HHLL", tag, 4, (counts or {}).get(tag, 1), value) for tag, value in entries)
    start = struct.pack("<2sHL", b"II", 42, 8 + len(body))
    return start + body + struct.pack("<H", len(entries)) + written + struct.pack("<L", 0)


def tiff_values(tags: int, size: int) -> bytes:
    """Return a TIFF of `size` bytes with `tags` tags that all name nearly the whole file as their value."""
    body = bytes(256).ljust(size, b"x")
    basic = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    basic += [(277, 3, 1, 1), (278, 4, 1, 16), (279, 4, 1, 256)]
    entries = basic + [(40_000 + number, 7, size - 8, 8) for number in range(tags)]
    written = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return struct.pack("<2sHL", b"II", 42, 8 + size) + body + struct.pack("<H", len(entries)) + written + bytes(4)


def jpeg_scans(side: int, scans: int) -> bytes:
    """Return a progressive JPEG that goes over its pixels again and again."""
    whole = saved(Image.new("RGB", (side, side), (9, 99, 199)), "JPEG", progressive=True)
    last = whole[whole.rfind(b"\xff\xda") : -2]
    return whole[:-2] + last * scans + whole[-2:]


def jpeg_metadata(count: int, body: bytes) -> bytes:
    """Return a JPEG with so many APP1 segments."""
    whole = saved(Image.new("RGB", (16, 16)), "JPEG")
    return whole[:2] + (b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body) * count + whole[2:]


def exif(tags: int) -> bytes:
    """Return EXIF of 64 kB with `tags` tags that all name the whole of it as their value."""
    entries = b"".join(struct.pack("<HHLL", 1000 + number, 7, 60_000, 0) for number in range(tags))
    return b"Exif\0\0" + (b"II*\0" + struct.pack("<LH", 8, tags) + entries + bytes(4)).ljust(65_000, b"x")


def bmp_runs(width: int, height: int, runs: bytes) -> bytes:
    """Return a BMP with run lengths, which say as little as one pixel in two bytes or skip over megabytes."""
    start = 14 + 40 + 1024
    head = struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0) + bytes(1024) + runs


def gif_comments(blocks: int) -> bytes:
    """Return a GIF with a comment of so many blocks."""
    return _gif(b"\x21\xfe" + (b"\xff" + b"c" * 255) * blocks + b"\0", (16, 16))


def gif_frame(side: int) -> bytes:
    """Return a GIF of 16 by 16 pixels whose first frame is `side` pixels square."""
    return _gif(b"", (side, side))


def _gif(before: bytes, frame: tuple[int, int]) -> bytes:
    whole = saved(Image.new("L", (16, 16)), "GIF")
    at = whole.index(b"\x2c" + bytes(4) + b"\x10\0\x10\0")
    return whole[:at] + before + whole[at : at + 5] + struct.pack("<HH", *frame) + whole[at + 9 :]


def gif_frames(count: int) -> bytes:
    """Return an animation of so many large frames."""
    whole = saved(Image.new("L", (1400, 1400)), "GIF")
    at = whole.index(b"\x2c" + bytes(4))
    return whole[:at] + whole[at:-1] * count + whole[-1:]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return a picture's file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def blank(kind: str, side: int = SIDE, mode: str = "RGB", **options: object) -> bytes:
    """Return a picture of one colour: as few bytes for its pixels as the format can."""
    return saved(Image.new(mode, (side, side)), kind, **options)


BOMBS: Mapping[str, Callable[[], bytes]] = {
    "PNG 9000x9000, 243 MB of pixels": lambda: png(9000, 9000),
    "PNG 7000x7000, blank": lambda: png(SIDE, SIDE),
    "PNG 7000x7000, blank, alpha": lambda: png(SIDE, SIDE, channels=4),
    "PNG 7000x7000, blank, interlaced": lambda: png(SIDE, SIDE, interlaced=True),
    "PNG, 8,000 ICC profiles of 1 MB": lambda: png_profiles(8000),
    "PNG, 8,000 zTXt of 1 MB": lambda: png_texts(8000),
    "PNG, 8,000 iTXt of 1 MB": lambda: png_texts(8000, b"iTXt"),
    "PNG, 8,000 XMP of 1 MB": lambda: png_orientations(8000),
    "PNG, 700,000 empty chunks": lambda: png_of_crumbs(700_000),
    "JPEG 1000x1000, 1,000 scans": lambda: jpeg_scans(1000, 1000),
    "JPEG 7000x7000, 300 scans": lambda: jpeg_scans(SIDE, 300),
    "JPEG, 5,000 EXIF of 2 kB": lambda: jpeg_metadata(5000, b"Exif\0\0".ljust(1990, b"x")),
    "JPEG, EXIF of 3,000 overlapping tags": lambda: jpeg_metadata(1, exif(3000)),
    "JPEG, 150 ICC profiles of 64 kB": lambda: jpeg_metadata(150, b"ICC_PROFILE\0\1\1".ljust(65_000, b"x")),
    "TIFF, a tile of 16384x16384": lambda: tiff_tile(16_384),
    "TIFF, a tile of 30000x30000": lambda: tiff_tile(30_000),
    "TIFF 7000x7000, blank, deflate": lambda: blank("TIFF", compression="tiff_adobe_deflate"),
    "TIFF, 40 tags of 9.9 MB each": lambda: tiff_values(40, 9_900_000),
    "TIFF, 1,900 rows, one strip of 9 MB": lambda: tiff_shared_strips(1900, 9_000_000),
    "WebP 16383x16383": lambda: blank("WEBP", 16_383),
    "WebP 7000x7000, blank": lambda: blank("WEBP"),
    "WebP 7000x7000, blank, lossless": lambda: blank("WEBP", lossless=True),
    "BMP, 4.8 M runs of one pixel": lambda: bmp_runs(2300, 2200, b"\1\5" * 4_800_000),
    "BMP, one skip of 6 GB": lambda: bmp_runs(24_000_000, 2, b"\0\2\0\xff"),
    "GIF, first frame of 20000x20000": lambda: gif_frame(20_000),
    "GIF 7000x7000, blank": lambda: blank("GIF", mode="P"),
    "GIF, 300 frames of 1400x1400": lambda: gif_frames(300),
}
"""What each is, and what makes it."""


LARGEST: Mapping[str, Callable[[], bytes]] = {
    "JPEG": lambda: _noisy("RGB", "JPEG"),
    "JPEG, progressive": lambda: _noisy("RGB", "JPEG", progressive=True),
    "PNG": lambda: _noisy("RGB", "PNG", compress_level=1),
    "PNG, alpha": lambda: _noisy("RGBA", "PNG", compress_level=1),
    "WebP": lambda: _noisy("RGB", "WEBP", method=0),
    "TIFF, deflate": lambda: _noisy("RGB", "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, 32-bit floats, deflate": lambda: _noisy("F", "TIFF", compression="tiff_adobe_deflate"),
    "GIF": lambda: _noisy("P", "GIF"),
}
"""Pictures of 49 megapixels that are let in."""


def _noisy(mode: str, kind: str, **options: object) -> bytes:
    """Return a picture with enough in it to be in proportion: a corner of noise on one colour."""
    image = Image.new("L", (SIDE, SIDE), 200)
    image.paste(Image.effect_noise((1000, 1000), 90), (0, 0))
    return saved(image.convert(mode), kind, **options)
