"""Queries: what a person searches with and how, read into the fields of the protocol."""

from __future__ import annotations

import base64
import secrets
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

from lookalike_client.arguments import QueryArguments, check_arguments, split_options
from lookalike_client.examples import (
    Example,
    Picture,
    PictureUrl,
    ProductId,
    Text,
    Vector,
    read_example,
    text,
    url,
    vector,
)

MAX_FRAMES = 64
"""Of one query over a stream; further pictures are written as base64."""
ONE_OF = ("image", "product", "vector", "url", "text", "positive")


class Query:
    """What `Client.search` takes, as a value: for `search_many`, where each query has arguments of its own.

    Files are read when the query is sent, not before.
    """

    __slots__ = ("arguments", "image")

    def __init__(self, image: Any = None, /, **arguments: Unpack[QueryArguments]) -> None:
        self.image = image
        self.arguments: Mapping[str, Any] = check_arguments(arguments)
        given = [name for name in ONE_OF if (self.image if name == "image" else self.arguments.get(name)) is not None]
        is_pair = len(given) == 2 and given[1] == "text"
        if len(given) != 1 and not is_pair:
            found = "nothing to search with" if not given else f"both {' and '.join(given)}"
            raise TypeError(f"there is {found}: give exactly one of {', '.join(ONE_OF)}; a text may stand beside one")
        if "crop" in self.arguments and not {"image", "url"}.intersection(given):
            raise TypeError("crop belongs to one picture: give each of several its own by picture(…, crop=…)")

    def __repr__(self) -> str:
        shown = [] if self.image is None else [type(self.image).__name__ if _is_large(self.image) else repr(self.image)]
        return f"Query({', '.join([*shown, *(f'{name}=…' for name in self.arguments)])})"


def _is_large(image: Any) -> bool:
    return not isinstance(image, str) or len(image) > 200


class ReadQuery:
    """A query whose files are read: JSON for all kinds, and a form where that is smaller."""

    def __init__(self, query: Query) -> None:
        self.options, self._rest = split_options(query.arguments)
        self.positive = _read_positive(query)
        self.negative = [read_example(one) for one in self._rest.get("negative", ())]
        self.is_list = "positive" in self._rest

    def to_json(self, frames: list[bytes] | None = None) -> dict[str, Any]:
        """Return the fields of the protocol. With `frames`, pictures and vectors go there, as streams carry them."""
        found: dict[str, Any] = dict(self.options)
        if self.is_list:
            found["positive"] = [example_json(example, frames) for example in self.positive]
        else:
            for example in self.positive:
                found |= example_json(example, frames)
        if self.negative:
            found["negative"] = [example_json(example, frames) for example in self.negative]
        if "negative_weight" in self._rest:
            found["negative_weight"] = float(self._rest["negative_weight"])
        return found

    def to_form(self) -> list[tuple[str, str | bytes]] | None:
        """Return the fields of a form, in which a picture takes a quarter less, or None where JSON says more."""
        pictures = [example for example in self.positive if isinstance(example, Picture)]
        texts = [example.text for example in self.positive if isinstance(example, Text) and example.weight == 1]
        crops = [example.crop for example in pictures if example.crop is not None]
        filters: Sequence[Any] = self.options.get("filter", ())
        is_form = len(pictures) + len(texts) == len(self.positive) and pictures and len(crops) in {0, len(pictures)}
        is_form = is_form and not (texts and self.is_list)
        is_form = is_form and not self.negative and all(isinstance(one, str) for one in filters)
        if not is_form or "negative_weight" in self._rest:
            return None
        form: list[tuple[str, str | bytes]] = [("image", example.content) for example in pictures]
        form += [("text", words) for words in texts]
        form += [("crop", ",".join(map(repr, crop))) for crop in crops]
        for name, value in self.options.items():
            form += [(name, _to_text(one)) for one in _to_list(value)]
        return form


def _read_positive(query: Query) -> list[Example]:
    given = query.arguments
    if "positive" in given:
        return [read_example(one) for one in given["positive"]]
    texts: list[Example] = [text(given["text"], weight=given.get("weight", 1.0))] if "text" in given else []
    return texts if texts and _has_text_alone(query) else [*_read_look(query), *texts]


def _has_text_alone(query: Query) -> bool:
    return query.image is None and not {"product", "vector", "url"}.intersection(query.arguments)


def _read_look(query: Query) -> list[Example]:
    """Return the picture, product or vector that is no list."""
    given, crop = query.arguments, query.arguments.get("crop")
    if "product" in given:
        return [ProductId(given["product"])]
    if "vector" in given:
        return [vector(given["vector"])]
    example = url(given["url"]) if "url" in given else read_example(query.image)
    if crop is None:
        return [example]
    if not isinstance(example, Picture | PictureUrl):
        raise TypeError("crop belongs to a picture")
    left, top, right, bottom = map(float, crop)
    return [replace(example, crop=(left, top, right, bottom))]


def example_json(example: Example, frames: list[bytes] | None = None) -> dict[str, Any]:
    """Return an example as the protocol has it."""
    room = frames if frames is not None and len(frames) < MAX_FRAMES else None
    match example:
        case Picture(content, crop):
            shown = _to_base64(content) if room is None else _to_frame(content, room)
            return _with_crop({"image": shown}, crop)
        case PictureUrl(address, crop):
            return _with_crop({"url": address}, crop)
        case ProductId(product):
            return {"product_id": product}
        case Vector(numbers):
            return {"vector": list(numbers) if room is None else _to_frame(_pack(numbers), room)}
        case Text(words, weight):
            return {"text": words} if weight == 1 else {"text": words, "weight": weight}


def _to_list(value: Any) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return [f"{name}={one!r}" for name, one in value.items()]
    return value if isinstance(value, list) else [value]


def _to_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _to_base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _to_frame(content: bytes, frames: list[bytes]) -> dict[str, int]:
    frames.append(content)
    return {"frame": len(frames) - 1}


def _pack(numbers: Sequence[float]) -> bytes:
    """Return numbers as little-endian 32-bit floats."""
    packed = array("f", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _with_crop(found: dict[str, Any], crop: Sequence[float] | None) -> dict[str, Any]:
    return found if crop is None else {**found, "crop": list(crop)}


def write_form(fields: Sequence[tuple[str, str | bytes]]) -> tuple[str, bytes]:
    """Return the content type and the body of a form; bytes are files."""
    boundary = secrets.token_hex(16)
    parts: list[bytes] = []
    for name, value in fields:
        is_file = isinstance(value, bytes)
        file = '; filename="image"\r\nContent-Type: application/octet-stream' if is_file else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts += [head.encode(), value if isinstance(value, bytes) else value.encode(), b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)
