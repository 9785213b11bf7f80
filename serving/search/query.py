"""A query: its examples, which say what it is about, and its options.

One example is "what looks like this"; several are put together. They meet in the index's space, where all vectors have
length 1: mean(positive) - weight * mean(negative). This is Rocchio's feedback (J. J. Rocchio, "Relevance feedback in
information retrieval", in G. Salton, ed., The SMART Retrieval System, 1971). Manning, Raghavan and Schütze,
Introduction to Information Retrieval, 2008, 9.1.1, give 0.75 and 0.15 as reasonable weights; the default here keeps
their ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lookalike.serving.errors import ProblemError
from lookalike.serving.search.crops import Crop
from lookalike.serving.search.options import QueryOptions

SHOWN_DIGITS = 6
"""So many digits of a score after the point are sent."""

NEGATIVE_WEIGHT = 0.2
LEAST_LENGTH = 1e-4  # of what examples add up to: less is what rounding left of vectors that cancel each other out

Vectors = NDArray[np.float32]


def shown(score: float) -> float:
    """Return a score as replies show it."""
    return round(float(score), SHOWN_DIGITS)


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


Example = Picture | PictureUrl | ProductId | EncoderVector


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
    def pictures(self) -> int:
        """How many pictures must be encoded."""
        return sum(isinstance(example, Picture | PictureUrl) for example in self.examples)


def combine(positive: Sequence[Vectors], negative: Sequence[Vectors], weight: float) -> Vectors | None:
    """Return where (dimension,) vectors of length 1 lead together, with length 1; None without a positive one.

    Raises `ProblemError` where they cancel each other out.
    """
    if not positive:
        return None
    if len(positive) == 1 and not negative:
        return positive[0]
    sum_: Vectors = np.mean(positive, axis=0, dtype=np.float32)
    if negative:
        sum_ = sum_ - np.float32(weight) * np.mean(negative, axis=0, dtype=np.float32)
    length = float(np.linalg.norm(sum_))
    if length < LEAST_LENGTH:
        raise ProblemError("vector_zero", "The examples cancel each other out: nothing is near what is left of them.")
    return np.asarray(sum_ / length, np.float32)
