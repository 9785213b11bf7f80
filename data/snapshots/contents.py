"""Contents: the blobs that a manifest names, and what they are called for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lookalike.data.snapshots.blobs import Blob

_NAMES = {
    "spaces.image.encoder.spec": "the encoder's spec",
    "spaces.image.encoder.model": "the encoder's model",
    "spaces.image.encoder.text.spec": "the spec of the encoder's tower of texts",
    "spaces.image.encoder.text.model": "the model of the encoder's tower of texts",
    "spaces.image.encoder.text.vocabulary": "the vocabulary of the encoder's tower of texts",
    "spaces.image.projection.matrix": "the projection",
    "spaces.image.projection.centre": "the centre of the texts' vectors",
    "spaces.image.index.trained": "the trained index",
    "spaces.text.encoder.spec": "the spec of the texts' encoder",
    "spaces.text.encoder.model": "the model of the texts' encoder",
    "spaces.text.encoder.vocabulary": "the vocabulary of the texts' encoder",
    "spaces.text.index.trained": "the trained index of the texts",
    "duplicates.groups": "the groups of near-duplicates",
}
_SHARD_NAMES = {
    "products": "the products",
    "spaces.image.index": "the index",
    "spaces.text.index": "the index of the texts",
    "spaces.text.rows": "the rows of the texts",
    "tombstones": "the tombstones",
    "text": "the words",
    "colours": "the colours",
}


def find_blobs(document: Any, place: str = "") -> Iterator[tuple[str, Blob]]:
    """Yield each blob below a value as JSON, with its place: a blob is any object of `sha256` and `size`."""
    if isinstance(document, Mapping):
        if document.keys() == {"sha256", "size"}:
            yield place, Blob.model_validate(document)
            return
        for name, value in document.items():
            yield from find_blobs(value, f"{place}.{name}" if place else name)
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield from find_blobs(value, f"{place}.{number}")


def name_for_people(place: str) -> str:
    """Return what the blob at a place of a manifest is."""
    if not place.startswith("shards."):
        return _NAMES.get(place, place)
    _, number, rest = place.split(".", maxsplit=2)
    return f"{_SHARD_NAMES.get(rest, rest)} of shard {number}"
