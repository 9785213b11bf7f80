"""Examples: the things that a person may search with, read into what a request carries."""

from __future__ import annotations

import io
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

MAX_PICTURE_BYTES = 64 << 20
"""No server takes as much: what has more is not the file that was meant."""

_BYTES = {"B", "b", "c"}  # what `memoryview` calls them
_NUMBERS = set("efdhHiIlLqQ")
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}
_ORIENTATION = 0x0112


@runtime_checkable
class BinaryFile(Protocol):
    """What can be read: an open file, or a response of another library."""

    def read(self, size: int = ..., /) -> bytes: ...


Crop: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom, as fractions from 0 to 1 of the picture as it stands upright."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes of a picture's file, and the part of it that counts."""

    content: bytes
    crop: Crop | None = None

    def __repr__(self) -> str:
        return f"Picture({len(self.content)} bytes, crop={self.crop})"


@dataclass(frozen=True, slots=True)
class PictureUrl:
    """Where a picture is, for servers that fetch from that host."""

    url: str
    crop: Crop | None = None


@dataclass(frozen=True, slots=True)
class ProductId:
    """A product of the catalogue."""

    id: str


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector of the snapshot's encoder."""

    numbers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Words, and how much they count beside other examples."""

    text: str
    weight: float = 1.0


Example: TypeAlias = Picture | PictureUrl | ProductId | Vector | Text


def picture(source: Any, *, crop: Crop | None = None) -> Picture:
    """Return a picture as an example: from a path, bytes, an open file or a PIL image, with a crop of its own."""
    found = read_example(source)
    if not isinstance(found, Picture):
        raise TypeError(f"{type(source).__name__} is no picture: give a path, bytes, an open file or a PIL image")
    return Picture(found.content, crop)


def product(product_id: str) -> ProductId:
    """Return a product as an example."""
    return ProductId(product_id)


def vector(values: Any) -> Vector:
    """Return a vector as an example: from a list, an `array.array`, a NumPy array or a tensor."""
    return _read_vector(values)


def url(address: str, *, crop: Crop | None = None) -> PictureUrl:
    """Return a picture on the web as an example."""
    return PictureUrl(address, crop)


def text(words: str, *, weight: float = 1.0) -> Text:
    """Return words as an example; a text on its own among examples would be the path of a picture."""
    return Text(words, float(weight))


def read_example(source: Any) -> Example:
    """Return what `source` is: a text is a path, bytes are a picture, numbers are a vector.

    Raises TypeError for what is none of these, and OSError for a file that cannot be read.
    """
    if isinstance(source, Picture | PictureUrl | ProductId | Vector | Text):
        return source
    if isinstance(source, str | PathLike):
        with Path(source).open("rb") as file:
            return Picture(_read_all(file))
    if isinstance(source, BinaryFile):
        return Picture(_read_all(source))
    if _is_pil_image(source):
        return Picture(_write_png(source))
    if isinstance(getattr(source, "id", None), str) and hasattr(source, "similar"):
        return ProductId(source.id)
    return _read_values(source)


def _read_all(file: BinaryFile) -> bytes:
    content = file.read(MAX_PICTURE_BYTES + 1)
    if not isinstance(content, bytes):
        raise TypeError("the file gives text: open it with mode 'rb'")
    return _check_size(content)


def _check_size(content: bytes) -> bytes:
    if len(content) > MAX_PICTURE_BYTES:
        raise ValueError(f"the picture has more than {MAX_PICTURE_BYTES >> 20} MiB: no server takes as much")
    return content


def _is_pil_image(source: Any) -> bool:
    """By what it can do: PIL is not imported for it."""
    return callable(getattr(source, "save", None)) and hasattr(source, "mode") and hasattr(source, "getexif")


def _write_png(image: Any) -> bytes:
    turned = image.getexif().get(_ORIENTATION, 1)
    drawn = image if image.mode in _PNG_MODES else image.convert("RGB")
    buffer = io.BytesIO()
    # the pixels lie as the camera held them: the server turns them by this tag, as in the original file
    drawn.save(buffer, "PNG", **({"exif": image.getexif()} if turned != 1 else {}))
    return _check_size(buffer.getvalue())


def _read_values(source: Any) -> Example:
    try:
        view = memoryview(source)
    except TypeError:
        return _read_vector(source)
    with view:
        if view.format in _BYTES and view.ndim == 1:
            return Picture(_check_size(view.tobytes()))
    return _read_vector(source)


def _read_vector(source: Any) -> Vector:
    values = _list_numbers(source)
    if values is None or not all(isinstance(value, numbers.Real) for value in values):
        kind = type(source).__name__
        raise TypeError(
            f"{kind} is nothing to search with: give a path, bytes, an open file, a PIL image, a product, or a vector "
            "of one dimension"
        )
    return Vector(tuple(float(value) for value in values))


def _list_numbers(source: Any) -> Sequence[Any] | None:
    if isinstance(source, str | bytes):
        return None
    try:
        with memoryview(source) as view:
            if view.ndim == 1 and (view.format or "").lstrip("@=<") in _NUMBERS:
                return view.tolist()
    except (TypeError, ValueError, NotImplementedError):
        pass  # no buffer, or one of a type that `memoryview` does not read
    listed = source.tolist() if hasattr(source, "__array__") and hasattr(source, "tolist") else source
    return listed if isinstance(listed, Sequence) and not isinstance(listed, str | bytes) else None
