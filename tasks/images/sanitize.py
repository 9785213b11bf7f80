"""Containers: what a picture's file holds besides pixels, looked through before a decoder reads it.

Pillow and the libraries below it bound what they inflate at a time, not how often: a megabyte of ICC profiles, each of
which inflates to a megabyte, costs seconds before the first pixel. So a picture is decoded from a lean copy of its
file: pixels, palette, transparency and what says which way is up.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping

from PIL import Image

from lookalike.data.errors import ImageRejectedError

MAX_CHUNKS = 10_000
"""Chunks of a PNG: encoders write one for every 8 KiB or more."""
MAX_SCAN_PIXELS = 640_000_000
"""Pixels of a JPEG times its scans: what the largest pictures have at ten scans, as encoders write them."""
MAX_SCANS = 100
"""Scans of a JPEG of any size; the longest known scripts have some thirty."""
MAX_SEGMENTS = 10_000
"""Segments of a JPEG: a profile or metadata of 64 MB have a thousand."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PNG_ORIENTATION = (b"eXIf", b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_JPEG = b"\xff\xd8\xff"
_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")  # neither a stuffed byte nor a restart, as pixels have them
_END = 0xD9
_SCAN = 0xDA
_JPEG_TABLES = {*range(0xC0, 0xE0), 0xE0, 0xEE}  # frames, tables, JFIF and Adobe: they decide what the colours are
_JPEG_ORIENTATION = (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")
_BMP_RUN_LENGTHS = {1, 2}
_TILE_SIDES = (322, 323)
_DATA_SIZES = (279, 325)
_LARGE_TILE = 2**20


def lean(data: bytes) -> bytes:
    """Return the same picture without whatever is neither its pixels nor its orientation.

    Raises `ImageRejectedError` for a file that would cost out of all proportion. A file that is no picture, or a
    damaged one, is left to the decoder.
    """
    make = next((make for start, make in _LEAN.items() if data.startswith(start)), None)
    return data if make is None else make(data)


def check_frames(image: Image.Image, size: int) -> None:
    """See that an opened picture, in a file of `size` bytes, decodes to no more than it says.

    Raises `ImageRejectedError`.
    """
    tags: Mapping[int, object] = getattr(image, "tag_v2", {})
    if not tags:
        return
    width, height = (_numbers(tags.get(side))[0] for side in _TILE_SIDES)
    if width * height > max(_LARGE_TILE, image.width * image.height):
        raise _damaged(f"its tiles of {width}x{height} pixels are larger than the picture")
    if any(sum(_numbers(tags.get(sizes))) > size for sizes in _DATA_SIZES):
        raise _damaged("its strips or tiles have more bytes than the file")


def check_scans(data: bytes, image: Image.Image) -> None:
    """See that a lean JPEG, opened as `image`, is not gone over again and again. Raises `ImageRejectedError`."""
    if not data.startswith(_JPEG):
        return
    scans = sum(marker == _SCAN for marker, _, _ in _segments(data))
    if scans > MAX_SCANS or scans > max(1, MAX_SCAN_PIXELS // (image.width * image.height)):
        raise _damaged(f"it has {scans} scans, more than any program writes for its size")


def _lean_png(data: bytes) -> bytes:
    kept, orientations = [_PNG], set(_PNG_ORIENTATION)
    for count, (kind, start, stop) in enumerate(_chunks(data)):
        if count == MAX_CHUNKS:
            raise _damaged(f"it has more than {MAX_CHUNKS:,} chunks")
        found = _orientation(kind, data[start + 8 : start + 40]) & orientations
        if kind in _PNG_KEPT or kind[:1].isupper() or found:
            kept.append(data[start:stop])
        orientations -= found
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of each chunk; the last one may be cut off."""
    position = len(_PNG)
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, start = data[position + 4 : position + 8], position
        position += length + 12
        yield kind, start, position


def _orientation(kind: bytes, body: bytes) -> set[bytes]:
    if kind in _TEXTS:
        return {name for name in _PNG_ORIENTATION if body.startswith(name)}
    return {kind} & set(_PNG_ORIENTATION)


def _lean_jpeg(data: bytes) -> bytes:
    kept, orientations, segments = [data[:2]], set(_JPEG_ORIENTATION), _segments(data)
    for marker, start, stop in segments:
        if marker == _SCAN:
            end = max((last for _, _, last in segments), default=stop)
            return b"".join([*kept, data[start:end]])
        found = {name for name in orientations if data.startswith(name, start + 4)}
        if marker in _JPEG_TABLES or found:
            kept.append(data[start:stop])
        orientations -= found
    return b"".join(kept)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment as far as the picture's end, where phones append films.

    A scan reaches to the next segment. What is skipped is what libjpeg skips, so that no scan hides from being counted.
    """
    count, found = 0, _SEGMENT.search(data, 2)
    while found:
        start, marker = found.start(), data[found.start() + 1]
        if marker == _END:
            yield marker, start, start + 2
            return
        if (count := count + 1) > MAX_SEGMENTS:
            raise _damaged(f"it has more than {MAX_SEGMENTS:,} segments")
        stop = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        found = _SEGMENT.search(data, stop)
        if marker == _SCAN:
            stop = found.start() if found else len(data)
        yield marker, start, stop


def _lean_bmp(data: bytes) -> bytes:
    if len(data) >= 34 and int.from_bytes(data[30:34], "little") in _BMP_RUN_LENGTHS:
        # Pillow decodes them in Python, a microsecond a byte, and one skip may stand for gigabytes.
        raise ImageRejectedError("unsupported_format", "a BMP with run lengths is not supported; save it as PNG")
    return data


def _numbers(value: object) -> tuple[int, ...]:
    """Return the whole numbers of a TIFF's tag, (0,) for one that is not there."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(int(one) for one in values if isinstance(one, int)) or (0,)


def _damaged(why: str) -> ImageRejectedError:
    return ImageRejectedError("damaged", f"the picture is damaged: {why}")


_LEAN: Mapping[bytes, Callable[[bytes], bytes]] = {_PNG: _lean_png, _JPEG: _lean_jpeg, b"BM": _lean_bmp}
