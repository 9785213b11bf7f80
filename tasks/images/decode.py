"""Turn the bytes of one picture into RGB pixels, or say why that cannot be done."""

from __future__ import annotations

import io
import math
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, ImageChops
from PIL.PngImagePlugin import PngImageFile

from lookalike.data.errors import ImageRejectedError
from lookalike.tasks.images import heic
from lookalike.tasks.images.profiles import GREY, RGB, apply_profile
from lookalike.tasks.images.sanitize import (
    END_OF_JPEG,
    check_frames,
    check_scans,
    find_profile,
    lacks_end,
    lacks_scans,
    strip_metadata,
)

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # several pictures are decoded at a time: each has one processor

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP")
"""The formats that are decoded, beside HEIC; no other decoder of Pillow ever sees the bytes of strangers."""

REASONS = (
    "empty",
    "too_many_bytes",
    "not_an_image",
    "unsupported_format",
    "too_small",
    "too_many_pixels",
    "damaged",
)
"""The stable codes that `ImageRejectedError.reason` takes here."""

ALPHA_SIDE = 64
"""Pixels of each side of the alpha channel that `decode_with_alpha` returns."""

_WHITE = (255, 255, 255)
_ORIENTATION_TAG = 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PROFILED_MODES = dict.fromkeys(("RGB", "RGBA", "RGBX", "P", "PA"), RGB) | dict.fromkeys(("L", "LA"), GREY)
_OTHER_PIXELS = b"\xaa" * 4096
_KEY_STEPS = {"L;2": 85, "L;4": 17}  # from one grey to the next, in 8 bits
# A scaled JPEG keeps at least this many times the pixels per side that the caller wants.
_SCALED_DECODE_MARGIN = 1.5
_DECODABLE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP|GIF8[79]a|II\*\0|MM\0\*|II\+\0|MM\0\+|BM|.{4}ftypavi[fs]",
    re.DOTALL,
)
_KNOWN_ELSEWHERE = re.compile(
    rb".{4}ftyp|8BPS|%PDF|%!PS|\0\0[\x01\x02]\0|\0\0\0\x0cjP  |\xff\x0a|\0\0\0\x0cJXL |icns|qoif|P[1-7]\s|"
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg|<svg)",
    re.DOTALL,
)
_SNIFFED_BYTES = 1024
_BAND_VALUES = 2**20
_PILLOW = r"PIL\."
_PILLOW_IGNORED = ("ignore", None, Warning, re.compile(_PILLOW), 0)
_SILENCING = threading.Lock()


_Decoded = tuple[Image.Image, Image.Image | None]


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a picture may cost: bytes as stored, pixels once decoded, and the shortest side in pixels.

    Pillow refuses more than 178 megapixels on its own, so `max_pixels` above that has no effect. In a picture with more
    than `free_pixels`, each stored byte may give at most `pixels_per_byte`; None is for files from trusted sources.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 64_000_000
    min_side: int = 2
    free_pixels: int = 2_000_000
    pixels_per_byte: int | None = None


DEFAULT_LIMITS = ImageLimits()


def decode(data: bytes, *, limits: ImageLimits = DEFAULT_LIMITS, target: int | None = None) -> Image.Image:
    """Decode one picture to mode RGB, upright, on white; of an animation the first frame.

    `target` is the length in pixels of the sides that the caller needs: a much larger JPEG is then decoded
    at a fraction of its size, never smaller than the target, which is several times faster.

    Raises `ImageRejectedError`, and nothing else, for bytes that cannot be used; `reason` is in `REASONS`.
    """
    return decode_with_alpha(data, limits=limits, target=target)[0]


def decode_with_alpha(
    data: bytes, *, limits: ImageLimits = DEFAULT_LIMITS, target: int | None = None
) -> tuple[Image.Image, Image.Image | None]:
    """Decode one picture as `decode` does; return its alpha channel, too, None where nothing can be transparent.

    The channel has `ALPHA_SIDE` pixels a side, whatever the shape of the picture: every so many of its own.
    """
    _check_bytes(data, limits)
    _silence_pillow()
    with _report_damage(data):
        return _decode(data, limits, target)


@contextmanager
def _report_damage(data: bytes) -> Iterator[None]:
    """Turn any error of a decoder into `ImageRejectedError` with a reason."""
    try:
        yield
    except ImageRejectedError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageRejectedError("too_many_pixels", f"the picture is too large: {error}") from error
    except Exception as error:  # damaged files make decoders raise nearly anything: struct.error, KeyError, …
        raise _explain_failure(data, error) from error


def _check_bytes(data: bytes, limits: ImageLimits) -> None:
    if not data:
        raise ImageRejectedError("empty", "the file is empty")
    if len(data) > limits.max_bytes:
        raise ImageRejectedError(
            "too_many_bytes", f"the file has {len(data):,} bytes, more than the {limits.max_bytes:,} allowed"
        )


def _silence_pillow() -> None:
    """Ignore Pillow's warnings: each case ends in a reason, or does not matter.

    A filter that stays is safe with threads; `warnings.catch_warnings` around each picture is not. It must be the
    first one: others, of libraries or of the person who runs this, may come before it at any time and turn warnings
    into errors. It is moved under a lock, as it is missing for a moment.
    """
    if _is_pillow_silent():
        return
    with _SILENCING:
        if not _is_pillow_silent():
            warnings.filterwarnings("ignore", module=_PILLOW)


def _is_pillow_silent() -> bool:
    return warnings.filters[:1] == [_PILLOW_IGNORED]


def _decode(data: bytes, limits: ImageLimits, target: int | None) -> _Decoded:
    stripped = strip_metadata(data)
    if not lacks_end(stripped):
        return _decode_stripped(data, stripped, limits, target)
    return _decode_without_end(data, stripped.removesuffix(END_OF_JPEG[:1]), limits, target), None


def _decode_without_end(data: bytes, stripped: bytes, limits: ImageLimits, target: int | None) -> Image.Image:
    """Decode a JPEG without its end marker, if every pixel is there: then more bytes before the end change nothing."""
    image, _ = _decode_stripped(data, stripped + END_OF_JPEG, limits, target)
    other, _ = _decode_stripped(data, stripped + _OTHER_PIXELS + END_OF_JPEG, limits, target)
    if lacks_scans(stripped) or ImageChops.difference(image, other).getbbox() is not None:
        raise ImageRejectedError("damaged", "the picture is damaged or cut off: not all of its pixels are there")
    return image


def _decode_stripped(data: bytes, stripped: bytes, limits: ImageLimits, target: int | None) -> _Decoded:
    with _open(stripped) as image:
        _check_size(image.size, len(data), limits)
        if target is not None:
            side = math.ceil(target * _SCALED_DECODE_MARGIN)
            image.draft("RGB", (side, side))
        _scale_key_to_8_bits(image)
        image.load()
        orientation = _read_orientation(image)
        alpha = _read_alpha(image, orientation)
        mode = _PROFILED_MODES.get(image.mode)
        if mode is None:
            return _turn_upright(_to_rgb(image), orientation), alpha
        profile = image.info.get("icc_profile") or find_profile(data)
        return _turn_upright(apply_profile(_to_rgb(image), profile, mode), orientation), alpha


@contextmanager
def _open(stripped: bytes) -> Iterator[Image.Image]:
    """Open a copy without metadata, so that metadata costs nothing; pixels are not decoded yet."""
    with Image.open(io.BytesIO(stripped), formats=_find_formats(stripped)) as image:
        check_frames(image, len(stripped))
        check_scans(stripped, image)
        yield image


def _find_formats(data: bytes) -> tuple[str, ...]:
    """Return the decoders that may see these bytes. Raises `ImageRejectedError` for HEIC where none is installed."""
    if not heic.is_heic(data):
        return FORMATS
    if not heic.can_read_heic():
        raise ImageRejectedError("unsupported_format", f"{heic.EXTRA}; else use one of {', '.join(FORMATS)}")
    return (heic.FORMAT,)


def _check_size(size: tuple[int, int], stored: int, limits: ImageLimits) -> None:
    width, height = size
    if min(width, height) < limits.min_side:
        raise ImageRejectedError(
            "too_small", f"the picture is {width}x{height}; its sides must have at least {limits.min_side} pixels"
        )
    if width * height > limits.max_pixels:
        raise ImageRejectedError(
            "too_many_pixels",
            f"the picture is {width}x{height}, more than the {limits.max_pixels / 1e6:g} megapixels allowed",
        )
    if limits.pixels_per_byte and width * height > max(limits.free_pixels, limits.pixels_per_byte * stored):
        raise ImageRejectedError(
            "too_many_pixels",
            f"the picture is {width}x{height}, out of proportion to its {stored:,} bytes: send a smaller one",
        )


def _explain_failure(data: bytes, error: Exception) -> ImageRejectedError:
    """Tell a damaged picture from an unsupported format, and from data that is no picture."""
    if _DECODABLE.match(data) or heic.is_heic(data):
        return ImageRejectedError("damaged", f"the picture is damaged or cut off: {error or type(error).__name__}")
    if _KNOWN_ELSEWHERE.match(data[:_SNIFFED_BYTES]):
        return ImageRejectedError(
            "unsupported_format", f"this format is not supported; use one of {', '.join(FORMATS)}"
        )
    return ImageRejectedError("not_an_image", f"not a picture; use one of {', '.join(FORMATS)}")


def _read_orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001  # EXIF is often broken, and the picture is usable without it
        return 1
    return value if isinstance(value, int) else 1


def _read_alpha(image: Image.Image, orientation: int) -> Image.Image | None:
    if not image.has_transparency_data or image.mode.startswith(("I", "F")):
        return None
    small = image.resize((ALPHA_SIDE, ALPHA_SIDE), Image.Resampling.NEAREST)
    return _turn_upright(small.convert("RGBA").getchannel("A"), orientation)


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    transposition = _TRANSPOSITIONS.get(orientation)
    return image if transposition is None else image.transpose(transposition)


def _scale_key_to_8_bits(image: Image.Image) -> None:
    """Scale a PNG's transparent colour: it has the file's depth, and Pillow compares it with 8-bit pixels."""
    key = image.info.get("transparency")
    if not isinstance(image, PngImageFile) or isinstance(key, bytes | None):
        return
    depth = image.tile[0].args
    if depth in _KEY_STEPS:
        image.info["transparency"] = key * _KEY_STEPS[depth]
    elif depth == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return the pixels in mode RGB, independent of the file."""
    if image.mode.startswith("I;16"):
        return _scale_grey(np.asarray(image.convert("I")), 65535.0, image.info.get("transparency"))
    if image.mode in {"I", "F"}:
        return _scale_grey(np.asarray(image), None)
    if image.has_transparency_data:
        return _lay_on_white(image)
    # a loaded picture no longer needs its file; a copy would take another 200 MB for the largest pictures
    return image if image.mode == "RGB" else image.convert("RGB")


def _scale_grey(values: NDArray[np.generic], full: float | None, key: int | None = None) -> Image.Image:
    """Scale grey values with more than 8 bits to 8 bits; pixels with the value `key` are transparent, and become white.

    `full` is the value of white. Without it there is no agreed range: the usual ones (0 to 1, 8 bits, 16 bits) are
    recognised, and other values are stretched from the least to the greatest.
    """
    low, high = (0.0, full) if full is not None else _guess_range(*_find_extremes(values), values.dtype.kind)
    grey = np.empty(values.shape, np.uint8)
    for rows in _split_bands(values):
        scaled = np.clip((_make_finite(values[rows]) - low) * (255.0 / (high - low)), 0.0, 255.0)
        grey[rows] = np.rint(scaled).astype(np.uint8)
        if key is not None:
            grey[rows][values[rows] == key] = 255
    return Image.fromarray(grey).convert("RGB")


def _find_extremes(values: NDArray[np.generic]) -> tuple[float, float]:
    found = [
        (float(band.min()), float(band.max())) for band in (_make_finite(values[rows]) for rows in _split_bands(values))
    ]
    return min(low for low, _ in found), max(high for _, high in found)


def _make_finite(values: NDArray[np.generic]) -> NDArray[np.float32]:
    return np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)


def _split_bands(values: NDArray[np.generic]) -> Iterator[slice]:
    """Yield rows in bands of a few megabytes: without bands, the largest pictures would be in memory five times."""
    height = max(1, _BAND_VALUES // values.shape[1])
    for top in range(0, values.shape[0], height):
        yield slice(top, top + height)


def _guess_range(low: float, high: float, kind: str) -> tuple[float, float]:
    usual = (1.0, 255.0, 65535.0) if kind == "f" else (255.0, 65535.0)
    if low >= 0.0:
        for full in usual:
            if high <= full:
                return 0.0, full
    return low, high if high > low else low + 1.0


def _lay_on_white(image: Image.Image) -> Image.Image:
    """Lay transparent pixels on white: grey ones stay grey, and of a palette only the colours are changed."""
    if image.mode == "P":
        return _lay_palette_on_white(image)
    mode, white = ("L", 255) if image.mode == "LA" else ("RGB", _WHITE)
    layered = image if image.mode in {"LA", "RGBA"} else image.convert("RGBA")
    flat = Image.new(mode, layered.size, white)
    flat.paste(layered, mask=layered)
    return flat if mode == "RGB" else flat.convert("RGB")


def _lay_palette_on_white(image: Image.Image) -> Image.Image:
    colours = np.full((256, 4), 255, np.uint8)
    known = image.getpalette("RGBA") or []
    colours[: len(known) // 4] = np.reshape(known, (-1, 4))
    transparency = image.info.pop("transparency", b"")
    if isinstance(transparency, bytes):
        colours[: len(transparency), 3] = np.frombuffer(transparency, np.uint8)
    else:
        colours[transparency, 3] = 0
    image.putpalette(_lay_on_white(Image.fromarray(colours[None])).tobytes())
    return image.convert("RGB")
