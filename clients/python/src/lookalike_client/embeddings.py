"""Embeddings: vectors of pictures, as `POST /v1/embed` gives them."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lookalike_client.errors import ProblemError
from lookalike_client.examples import Picture, PictureUrl, read_example
from lookalike_client.query import example_json
from lookalike_client.replies import Reading, Reply, read_encoder, read_problem
from lookalike_client.results import Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """What came of one picture: `vector`, or `error`. NumPy takes the vector without a copy."""

    vector: array[float] | None = field(default=None, repr=False)
    error: ProblemError | None = None

    def unwrap(self) -> array[float]:
        """Return the vector, or raise the error."""
        if self.error is not None:
            raise self.error
        if self.vector is None:
            raise ValueError("the embedding has neither a vector nor an error")
        return self.vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """One embedding for each picture, in their order. Keep `encoder.fingerprint` with the vectors that you store."""

    embeddings: Sequence[Embedding]
    snapshot: str
    encoder: Encoder
    dimension: int
    projected: bool

    def __len__(self) -> int:
        return len(self.embeddings)

    def __iter__(self) -> Iterator[Embedding]:
        return iter(self.embeddings)

    def __getitem__(self, place: int) -> Embedding:
        return self.embeddings[place]


def read_pictures(pictures: Sequence[Any]) -> list[Picture | PictureUrl]:
    """Return the pictures, read. Raises TypeError for one that is none, and OSError."""
    if isinstance(pictures, str | bytes):
        raise TypeError("give a list of pictures")
    found = []
    for source in pictures:
        example = read_example(source)
        if not isinstance(example, Picture | PictureUrl):
            raise TypeError(f"{type(source).__name__} is no picture: give a path, bytes, an open file or a PIL image")
        found.append(example)
    return found


def write_embed_form(
    pictures: Sequence[Picture | PictureUrl], options: Mapping[str, Any]
) -> list[tuple[str, str | bytes]] | None:
    """Return the fields of a form, or None where only JSON can say it."""
    whole = [one.content for one in pictures if isinstance(one, Picture) and one.crop is None]
    if not whole or len(whole) != len(pictures):
        return None
    form: list[tuple[str, str | bytes]] = [("image", content) for content in whole]
    return form + [(name, str(value).lower() if isinstance(value, bool) else value) for name, value in options.items()]


def write_embed_json(pictures: Sequence[Picture | PictureUrl], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the protocol."""
    return {"images": [example_json(one) for one in pictures], **options}


def read_embeddings(reply: Reply) -> Embeddings:
    """Return the vectors. Raises `ProblemError`, and `UnexpectedReplyError`."""
    found = reply.json()
    with Reading("a list of vectors"):
        return Embeddings(
            embeddings=tuple(_read_embedding(one, reply) for one in found["results"]),
            snapshot=str(found["snapshot"]),
            encoder=read_encoder(found["encoder"]),
            dimension=int(found["dimension"]),
            projected=bool(found["projected"]),
        )


def _read_embedding(found: Mapping[str, Any], reply: Reply) -> Embedding:
    if found.get("problem") is not None:
        return Embedding(error=read_problem(found["problem"], reply.status, reply.request_id))
    numbers = array("f", base64.b64decode(found["vector"], validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return Embedding(vector=numbers)
