"""A query: its examples, which say what it is about, and its options.

One example is "what looks like this"; several are put together. They meet in the index's space, where all vectors have
length 1: mean(positive) - weight * mean(negative). This is Rocchio's feedback (J. J. Rocchio, "Relevance feedback in
information retrieval", in G. Salton, ed., The SMART Retrieval System, 1971). Manning, Raghavan and Schütze,
Introduction to Information Retrieval, 2008, 9.1.1, give 0.75 and 0.15 as reasonable weights; the default here keeps
their ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.data.errors import ImageRejectedError
from lookalike.serving.errors import ProblemError
from lookalike.serving.query.options import QueryOptions
from lookalike.tasks.images.decode import DEFAULT_LIMITS

SHOWN_DIGITS = 6
"""So many digits of a score after the point are sent."""

NEGATIVE_WEIGHT = 0.2
LEAST_LENGTH = 1e-4  # of what examples add up to: less is what rounding left of vectors that cancel each other out

Vectors = NDArray[np.float32]


def round_score(score: float) -> float:
    """Return a score as replies show it."""
    return round(float(score), SHOWN_DIGITS)


@dataclass(frozen=True, slots=True)
class Crop:
    """A box in fractions of a picture that stands upright, from its left and its top."""

    left: float
    top: float
    right: float
    bottom: float

    def cut(self, picture: Image.Image) -> Image.Image:
        """Return what is inside of the box, in whole pixels. Raises `ImageRejectedError` where that is too little."""
        width, height = picture.size
        left, top = math.floor(self.left * width), math.floor(self.top * height)
        right, bottom = math.ceil(self.right * width), math.ceil(self.bottom * height)
        if min(right - left, bottom - top) < DEFAULT_LIMITS.min_side:
            message = f"the crop leaves {right - left}x{bottom - top} of {width}x{height} pixels"
            raise ImageRejectedError("too_small", message)
        return picture.crop((left, top, right, bottom))


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's bytes as they were sent, and the part of it that counts."""

    data: bytes
    crop: Crop | None = None


@dataclass(frozen=True, slots=True)
class PictureUrl:
    """Where a picture is, as the caller says, and the part of it that counts."""

    url: str
    crop: Crop | None = None


@dataclass(frozen=True, slots=True)
class ProductId:
    """A product of the catalogue; no query finds a product that it was given as an example."""

    product: str


@dataclass(frozen=True, slots=True)
class EncoderVector:
    """A (dimension,) vector of the snapshot's encoder, not yet checked."""

    vector: Vectors


@dataclass(frozen=True, slots=True)
class Text:
    """Words, and how much they count beside other examples."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class TextVectors:
    """What a snapshot's encoders make of a text; None where there is no such encoder, or nothing that it knows.

    Attributes:
        meaning: by the encoder of texts.
        shows: by that of pictures, in their space.
    """

    meaning: Vectors | None = None
    shows: Vectors | None = None


Example = Picture | PictureUrl | ProductId | EncoderVector | Text


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for, how hits are chosen, and what is sent of them."""

    positive: tuple[Example, ...]
    options: QueryOptions = field(default_factory=QueryOptions)
    negative: tuple[Example, ...] = ()
    negative_weight: float = NEGATIVE_WEIGHT

    @property
    def examples(self) -> tuple[Example, ...]:
        """All of them, the positive ones first."""
        return self.positive + self.negative

    @property
    def has_text(self) -> bool:
        """Whether it asks for words."""
        return any(isinstance(example, Text) for example in self.examples)

    @property
    def pictures(self) -> int:
        """How many pictures must be encoded."""
        return sum(isinstance(example, Picture | PictureUrl) for example in self.examples)


@dataclass(frozen=True, slots=True)
class EmbedQuery:
    """Pictures whose vectors are wanted, each understood or not.

    Attributes:
        snapshot: the one whose encoder is asked, None for the one that is served.
        is_projected: whether the vectors are wanted as the index compares them.
        is_packed: whether a reply in JSON holds packed vectors.
    """

    pictures: tuple[Picture | PictureUrl | ProblemError, ...]
    snapshot: str | None = None
    is_projected: bool = False
    is_packed: bool = False


def combine(positive: Sequence[Vectors], negative: Sequence[Vectors], weight: float) -> Vectors:
    """Return where (dimension,) vectors of length 1 lead together, with length 1. At least one must be positive.

    Raises `ProblemError` where they cancel each other out.
    """
    if len(positive) == 1 and not negative:
        return positive[0]
    sum_: Vectors = np.mean(positive, axis=0, dtype=np.float32)
    if negative:
        sum_ = sum_ - np.float32(weight) * np.mean(negative, axis=0, dtype=np.float32)
    length = float(np.linalg.norm(sum_))
    if length < LEAST_LENGTH:
        raise ProblemError("vector_zero", "The examples cancel each other out: nothing is near what is left of them.")
    return np.asarray(sum_ / length, np.float32)


def make_crop(numbers: Sequence[float]) -> Crop:
    """Return a crop box. Raises `ProblemError`."""
    if len(numbers) != 4:
        raise _bad_crop(f"`crop` has {len(numbers)} numbers: send left, top, right and bottom")
    crop = Crop(*numbers)
    if not (0 <= crop.left < crop.right <= 1 and 0 <= crop.top < crop.bottom <= 1):
        raise _bad_crop("`crop` must be fractions from 0 to 1, with left < right and top < bottom")
    return crop


def parse_crop(text: str) -> Crop | None:
    """Return the crop box in `left,top,right,bottom`, None where there is no text. Raises `ProblemError`."""
    if not text.strip():
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise _bad_crop(f"`crop` is {text[:40]!r}: send four numbers with commas between them") from error
    return make_crop(numbers)


def _bad_crop(detail: str) -> ProblemError:
    return ProblemError("bad_crop", f"{detail}.")
