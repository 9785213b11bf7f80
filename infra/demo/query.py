"""One query as a person would send it: a damaged copy of a picture from the catalogue."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import httpx
import pyarrow as pa
from PIL import Image, ImageEnhance

from lookalike.data.errors import ImageRejectedError
from lookalike.data.fetch.images import read_image
from lookalike.tasks.images.decode import decode

DAMAGE = "cropped, turned by 12°, darkened and saved as a poor JPEG"
FAVOURITE = "1F98A"  # the sample's fox
TRIES = 20


@dataclass(frozen=True)
class Question:
    """A query picture, and the product that it is a damaged copy of."""

    product: str
    title: str
    picture: bytes


@dataclass(frozen=True)
class Hit:
    """One product in the answer."""

    id: str
    title: str
    score: float


class QueryError(Exception):
    """The server did not answer the question."""


def make_question(products: pa.Table) -> Question:
    """Choose a product whose picture can be read, and damage a copy of that.

    Raises `ImageRejectedError` after TRIES.
    """
    rejected: ImageRejectedError | None = None
    for row in _choose_candidates(products):
        try:
            picture = damage(decode(read_image(row["image"])))
            return Question(row["id"], row["title"] or row["id"], picture)
        except ImageRejectedError as error:
            rejected = error
    raise rejected or ImageRejectedError("missing", "the catalogue is empty")


def damage(picture: Image.Image) -> bytes:
    """Return a picture cropped, turned, darkened and saved as a JPEG of low quality, as in a careless photograph."""
    width, height = picture.size
    cut = (round(width * 0.06), round(height * 0.06))
    cropped = picture.crop((*cut, width - cut[0], height - cut[1]))
    turned = cropped.rotate(12, Image.Resampling.BICUBIC, fillcolor="white")
    photo = io.BytesIO()
    ImageEnhance.Brightness(turned).enhance(0.85).save(photo, "JPEG", quality=40)
    return photo.getvalue()


def ask(url: str, picture: bytes, k: int = 5) -> list[Hit]:
    """Search a server for the picture. Raises `QueryError`."""
    files = {"image": ("query.jpg", picture, "image/jpeg")}
    reply = httpx.post(f"{url}/v1/search", files=files, data={"k": str(k)}, timeout=60, trust_env=False)
    if not reply.is_success:
        raise QueryError(f"the server answered {reply.status_code}: {reply.text[:500]}")
    return [Hit(hit["id"], hit["title"] or "", hit["score"]) for hit in reply.json()["hits"]]


def _choose_candidates(products: pa.Table) -> Iterable[dict[str, str]]:
    ids = products["id"].to_pylist()
    first = ids.index(FAVOURITE) if FAVOURITE in ids else len(ids) // 2
    for position in range(first, first + min(TRIES, len(ids))):
        yield products.select(["id", "title", "image"]).slice(position % len(ids), 1).to_pylist()[0]
