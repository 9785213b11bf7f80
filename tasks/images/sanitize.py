"""Check and strip what a picture's file holds besides pixels, before a decoder reads it.

Pillow and the libraries below it bound how much they inflate at a time, not how often. A megabyte of ICC profiles, each
of which inflates to a megabyte, costs seconds before the first pixel. So a picture is decoded from a stripped copy of
its
file: pixels, palette, transparency and orientation.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, takewhile

from PIL import Image

from lookalike.data.errors import ImageRejectedError
from lookalike.tasks.images.profiles import read_jpeg_profile, read_png_profile

MAX_CHUNKS = 10_000
"""The most chunks of a PNG: encoders write one for every 8 KiB or more."""
MAX_SCAN_PIXELS = 640_000_000
"""The most pixels of a JPEG times its scans: the largest pictures with ten scans, as encoders write them."""
MAX_SCANS = 100
"""The most scans of a JPEG of any size; the longest known scan scripts have about thirty."""
MAX_SEGMENTS = 10_000
"""The most segments of a JPEG: a profile or metadata of 64 MB have a thousand."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PNG_ORIENTATION = (b"eXIf", b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_JPEG = b"\xff\xd8\xff"
_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")  # not the stuffed bytes and restarts that occur in pixel data
END_OF_JPEG = b"\xff\xd9"
_END = 0xD9
_APP2 = 0xE2
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
LONGEST_SCAN_HEAD = 6 + 3 * 255
_NOT_SENT = 16
"""More than any number of bits that a scan may leave for later ones."""
_SCAN = 0xDA
_JPEG_TABLES = {*range(0xC0, 0xE0), 0xE0, 0xEE}  # frames, tables, JFIF and Adobe: these decide the colours
_JPEG_ORIENTATION = (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")
_BMP_RUN_LENGTHS = {1, 2}
_TILE_SIDES = (322, 323)
_DATA_SIZES = (279, 325)
_LARGE_TILE = 2**20


def strip_metadata(data: bytes) -> bytes:
    """Return a picture's file with only the parts that decide its pixels and its orientation.

    Raises `ImageRejectedError` for a file that would cost far more than its size suggests. A file that is no picture,
    or a damaged one, is returned unchanged: the decoder reports what is wrong.
    """
    strip = next((strip for start, strip in _STRIPPERS.items() if data.startswith(start)), None)
    return data if strip is None else strip(data)


def find_profile(data: bytes) -> bytes | None:
    """Return the colour profile of a JPEG or a PNG, which `strip_metadata` leaves out; None where there is none."""
    if data.startswith(_JPEG):
        return read_jpeg_profile(_iterate_profile_parts(data))
    if data.startswith(_PNG):
        before_pixels = takewhile(lambda found: found[0] != b"IDAT", islice(_iterate_chunks(data), MAX_CHUNKS))
        found = next(((start, stop) for kind, start, stop in before_pixels if kind == b"iCCP"), None)
        return read_png_profile(data[found[0] + 8 : found[1] - 4]) if found else None
    return None


def _iterate_profile_parts(data: bytes) -> Iterator[bytes]:
    """Yield the bodies of the APP2 segments before the first scan."""
    found = _SEGMENT.search(data, 2)
    for _ in range(MAX_SEGMENTS):
        if found is None or data[found.start() + 1] in {_SCAN, _END}:
            return
        start = found.start()
        stop = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if data[start + 1] == _APP2:
            yield data[start + 4 : stop]
        found = _SEGMENT.search(data, stop)


def lacks_end(stripped: bytes) -> bool:
    """Tell whether a stripped JPEG does not end with its end marker."""
    return stripped.startswith(_JPEG) and not stripped.endswith(END_OF_JPEG)


def lacks_scans(stripped: bytes) -> bool:
    """Tell whether a JPEG without its end may have lost whole scans: each sends coefficients, or some of their bits.

    All are there when each component's 64 coefficients were sent to their last bit (ITU-T T.81, B.2.3 and G.1.1).
    """
    left: dict[int, list[int]] = {}
    for marker, start, stop in _iterate_segments(stripped):
        body = stripped[start + 4 : min(stop, start + 4 + LONGEST_SCAN_HEAD)]
        if marker in _FRAMES and len(body) >= 6 + 3 * body[5]:
            left = {body[6 + 3 * place]: [_NOT_SENT] * 64 for place in range(body[5])}
        if marker == _SCAN and body and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
            for component in body[1 : 1 + 2 * body[0] : 2]:
                if component in left and first <= last < 64:
                    left[component][first : last + 1] = [bits & 15] * (last + 1 - first)
    return any(any(bits) for bits in left.values())


def check_frames(image: Image.Image, size: int) -> None:
    """Check that an opened TIFF, in a file of `size` bytes, decodes to no more than its size says.

    Raises `ImageRejectedError`.
    """
    tags: Mapping[int, object] = getattr(image, "tag_v2", {})
    if not tags:
        return
    width, height = (_read_numbers(tags.get(side))[0] for side in _TILE_SIDES)
    if width * height > max(_LARGE_TILE, image.width * image.height):
        raise _damage_error(f"its tiles of {width}x{height} pixels are larger than the picture")
    if any(sum(_read_numbers(tags.get(sizes))) > size for sizes in _DATA_SIZES):
        raise _damage_error("its strips or tiles have more bytes than the file")


def check_scans(data: bytes, image: Image.Image) -> None:
    """Check that a stripped JPEG, opened as `image`, does not have too many scans. Raises `ImageRejectedError`."""
    if not data.startswith(_JPEG):
        return
    scans = sum(marker == _SCAN for marker, _, _ in _iterate_segments(data))
    if scans > MAX_SCANS or scans > max(1, MAX_SCAN_PIXELS // (image.width * image.height)):
        raise _damage_error(f"it has {scans} scans, more than any program writes for its size")


def _strip_png(data: bytes) -> bytes:
    kept, orientations = [_PNG], set(_PNG_ORIENTATION)
    for count, (kind, start, stop) in enumerate(_iterate_chunks(data)):
        if count == MAX_CHUNKS:
            raise _damage_error(f"it has more than {MAX_CHUNKS:,} chunks")
        found = _find_orientation(kind, data[start + 8 : start + 40]) & orientations
        if kind in _PNG_KEPT or kind[:1].isupper() or found:
            kept.append(data[start:stop])
        orientations -= found
    return b"".join(kept)


def _iterate_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of each chunk; the last one may be cut off."""
    position = len(_PNG)
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, start = data[position + 4 : position + 8], position
        position += length + 12
        yield kind, start, position


def _find_orientation(kind: bytes, body: bytes) -> set[bytes]:
    if kind in _TEXTS:
        return {name for name in _PNG_ORIENTATION if body.startswith(name)}
    return {kind} & set(_PNG_ORIENTATION)


def _strip_jpeg(data: bytes) -> bytes:
    kept, orientations, segments = [data[:2]], set(_JPEG_ORIENTATION), _iterate_segments(data)
    for marker, start, stop in segments:
        if marker == _SCAN:
            end = max((last for _, _, last in segments), default=stop)
            return b"".join([*kept, data[start:end]])
        found = {name for name in orientations if data.startswith(name, start + 4)}
        if marker in _JPEG_TABLES or found:
            kept.append(data[start:stop])
        orientations -= found
    return b"".join(kept)


def _iterate_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment up to the end of the picture; phones append films behind it.

    A scan reaches to the next segment. This skips the same bytes as libjpeg, so that no scan escapes the count.
    """
    count, found = 0, _SEGMENT.search(data, 2)
    while found:
        start, marker = found.start(), data[found.start() + 1]
        if marker == _END:
            yield marker, start, start + 2
            return
        if (count := count + 1) > MAX_SEGMENTS:
            raise _damage_error(f"it has more than {MAX_SEGMENTS:,} segments")
        stop = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        found = _SEGMENT.search(data, stop)
        if marker == _SCAN:
            stop = found.start() if found else len(data)
        yield marker, start, stop


def _check_bmp(data: bytes) -> bytes:
    if len(data) >= 34 and int.from_bytes(data[30:34], "little") in _BMP_RUN_LENGTHS:
        # Pillow decodes them in Python, a microsecond a byte, and one skip may stand for gigabytes.
        raise ImageRejectedError("unsupported_format", "a BMP with run lengths is not supported; save it as PNG")
    return data


def _read_numbers(value: object) -> tuple[int, ...]:
    """Return the whole numbers of a TIFF's tag; (0,) for a missing tag."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(int(one) for one in values if isinstance(one, int)) or (0,)


def _damage_error(why: str) -> ImageRejectedError:
    return ImageRejectedError("damaged", f"the picture is damaged: {why}")


_STRIPPERS: Mapping[bytes, Callable[[bytes], bytes]] = {_PNG: _strip_png, _JPEG: _strip_jpeg, b"BM": _check_bmp}
