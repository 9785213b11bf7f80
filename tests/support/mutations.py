"""Real pictures in every format and form, and what a seeded random hand does to their files."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tests.support.bombs import chunk, saved

LONGEST_SIDE = 160
"""Of the pictures before anything is done to them: what is tried is how files are read, not how long pixels take."""
_INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_BLANKS = tuple(zlib.compress(bytes(size)) for size in (10, 100_000, 1_100_000))
_MARKS = (
    *(b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"IEND", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xda", b"\xff\xdb"),
    *(b"\xff\xe1", b"VP8 ", b"VP8L", b"VP8X", b"ANMF", b"ALPH", b"\x2c", b"\x21\xf9", b"II*\0", b"MM\0*"),
)
_CHUNKS = ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0"), (b"eXIf", b"II*\0"))


@dataclass(frozen=True, slots=True)
class Case:
    """A file to send: `seed` makes the same one again from the same pictures."""

    seed: int
    what: str
    data: bytes


Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]


def files_of(folder: Path, count: int) -> list[bytes]:
    """Return `count` pictures of a folder, each in all formats and forms. Raises `FileNotFoundError` without any."""
    names = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp"})
    if not names:
        raise FileNotFoundError(f"there are no pictures in {folder}: name a folder with some .png or .jpg")
    chosen = random.Random(0).sample(names, min(count, len(names)))
    return [form for path in chosen for form in _forms(path)]


def _forms(path: Path) -> list[bytes]:
    with Image.open(path) as opened:
        image = opened.convert("RGBA")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    flat, exif, turned = image.convert("RGB"), Image.Exif(), image.rotate(90)
    exif[0x0112], exif[0x010E] = 6, "a description"
    moving = {"save_all": True, "append_images": [turned, image.rotate(180)], "duration": 50}
    deep = image.convert("L").convert("I").point(lambda value: value * 257).convert("I;16")
    return [
        saved(flat, "JPEG", quality=80, exif=exif, icc_profile=bytes(300)),
        saved(flat, "JPEG", progressive=True, restart_marker_blocks=4),
        saved(flat.convert("CMYK"), "JPEG"),
        saved(flat.convert("L"), "JPEG", subsampling=0),
        saved(image, "PNG", exif=exif, icc_profile=bytes(300)),
        saved(flat.quantize(16), "PNG", transparency=3),
        saved(deep, "PNG"),
        saved(image.convert("1"), "PNG"),
        saved(image, "PNG", **moving),
        saved(flat, "WEBP", exif=exif),
        saved(image, "WEBP", lossless=True),
        saved(image, "WEBP", **moving),
        saved(flat.quantize(64), "GIF", transparency=0, interlace=1),
        saved(image, "GIF", **moving),
        *(saved(flat, "TIFF", compression=name) for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")),
        saved(flat, "TIFF", compression="jpeg"),
        saved(flat.convert("CMYK"), "TIFF"),
        saved(deep, "TIFF", exif=exif),
        saved(flat.convert("1"), "TIFF", compression="group4"),
        saved(flat, "BMP"),
        saved(flat.quantize(16), "BMP"),
        saved(image, "BMP"),
    ]


def case(seed: int, files: Sequence[bytes]) -> Case:
    """Return the case with this seed: one of the files with one to three things done to it."""
    hand = random.Random(seed)
    data, done = hand.choice(files), []
    for _ in range(hand.choice((1, 1, 1, 2, 3))):
        mutation = hand.choice(MUTATIONS)
        data = mutation(data, hand, files) or b"?"
        done.append(mutation.__name__.strip("_").replace("_", " "))
    return Case(seed, ", ".join(done), data)


def _flip_bits(data: bytes, hand: random.Random, __: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(hand.choice((1, 1, 2, 8, 64))):
        changed[hand.randrange(len(changed))] ^= 1 << hand.randrange(8)
    return bytes(changed)


def _edit_the_head(data: bytes, hand: random.Random, __: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(hand.randint(1, 4)):
        changed[hand.randrange(min(120, len(changed)))] = hand.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(changed)


def _edit_a_number(data: bytes, hand: random.Random, _: Sequence[bytes]) -> bytes:
    """Write an odd number of two or four bytes near a mark: lengths, sizes, offsets and counts stand there."""
    at = _mark(data, hand) + hand.randrange(-8, 24)
    form = hand.choice(("<H", ">H", "<L", ">L"))
    number = hand.choice(_INTERESTING) & (0xFFFF if form.endswith("H") else 0xFFFFFFFF)
    at = max(0, min(at, len(data) - 4))
    return data[:at] + struct.pack(form, number) + data[at + struct.calcsize(form) :]


def _edit_the_size(data: bytes, hand: random.Random, _: Sequence[bytes]) -> bytes:
    """Say other dimensions, where the format of the file keeps them."""
    width, height = (hand.choice((0, 1, 2, 3, 1000, 1415, 7000, 16_383, 65_535)) for _ in range(2))
    if data.startswith(b"\x89PNG"):
        head = struct.pack(">II", width, height) + data[24:29]
        return data[:8] + chunk(b"IHDR", head) + data[33:]
    if data.startswith(b"GIF8"):
        return data[:6] + struct.pack("<HH", width, height) + data[10:]
    if data.startswith(b"BM"):
        return data[:18] + struct.pack("<ii", width, hand.choice((height, -height))) + data[26:]
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    if data.startswith(b"\xff\xd8") and frame > 0:
        return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]
    return _edit_a_number(data, hand, ())


def _cut(data: bytes, hand: random.Random, _: Sequence[bytes]) -> bytes:
    return data[: hand.randrange(1, len(data) + 1)]


def _remove(data: bytes, hand: random.Random, _: Sequence[bytes]) -> bytes:
    start = hand.randrange(len(data))
    return data[:start] + data[start + hand.choice((1, 2, 40, 400)) :]


def _repeat(data: bytes, hand: random.Random, _: Sequence[bytes]) -> bytes:
    start, length = hand.randrange(len(data)), hand.choice((4, 30, 1000))
    return data[:start] + data[start : start + length] * hand.choice((2, 5, 50)) + data[start:]


def _splice(data: bytes, hand: random.Random, files: Sequence[bytes]) -> bytes:
    other = hand.choice(files) if files else data
    return data[: hand.randrange(len(data) + 1)] + other[hand.randrange(len(other)) :]


def _append(data: bytes, hand: random.Random, files: Sequence[bytes]) -> bytes:
    return data + (hand.choice(files) if files else data)


def _take_another_head(data: bytes, hand: random.Random, files: Sequence[bytes]) -> bytes:
    length = hand.choice((4, 8, 12, 16, 32))
    return (hand.choice(files) if files else data)[:length] + data[length:]


def _insert_metadata(data: bytes, hand: random.Random, _: Sequence[bytes]) -> bytes:
    """Add what inflates, is very long or comes very often; as a chunk or a segment where the format has some."""
    times, blank = hand.choice((1, 2, 100)), hand.choice(_BLANKS)
    if data.startswith(b"\x89PNG"):
        kind, head = hand.choice(
            ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0"), (b"eXIf", b"II*\0"))
        )
        return data[:33] + chunk(kind, head + blank) * times + data[33:]
    if data.startswith(b"\xff\xd8"):
        name = hand.choice((b"Exif\0\0", b"ICC_PROFILE\0\1\1", b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0", b"Adobe"))
        body = name + hand.randbytes(hand.choice((1, 20, 5000)))
        segment = struct.pack(">BBH", 0xFF, hand.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE)), len(body) + 2) + body
        return data[:2] + segment * times + data[2:]
    if data.startswith(b"GIF8"):
        at = max(0, data.find(b"\x21"))
        return data[:at] + b"\x21\xfe" + (b"\xff" + bytes(255)) * times + b"\0" + data[at:]
    return data + hand.randbytes(20) * times


def _mark(data: bytes, hand: random.Random) -> int:
    found = [at for at in (data.find(mark) for mark in _MARKS) if at >= 0]
    return hand.choice(found) if found else 0


def _nothing(data: bytes, _: random.Random, __: Sequence[bytes]) -> bytes:
    return data


MUTATIONS: tuple[Mutation, ...] = (
    *(_flip_bits, _edit_the_head, _edit_a_number, _edit_a_number, _edit_the_size, _cut, _remove, _repeat, _splice),
    *(_append, _take_another_head, _insert_metadata, _nothing),
)
