"""Examples: what a query is about. One is "what looks like this"; several are put together.

They meet in the index's space, where all vectors have length 1: mean(positive) - weight * mean(negative). This is
Rocchio's feedback (J. J. Rocchio, "Relevance feedback in information retrieval", in G. Salton, ed., The SMART Retrieval
System, 1971). Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, 9.1.1, give 0.75 and 0.15 as
reasonable weights; the default here keeps their ratio.

Ranking: how hits are chosen, whatever is searched for.

Fields: what of a hit is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.data.snapshots.duplicates import Kind
from lookalike.serving.errors import ProblemError
from lookalike.serving.search.crops import Crop
from lookalike.tasks.search.filters import Condition

SHOWN_DIGITS = 6
"""So many digits of a score after the point are sent."""

NAMES = ("title", "attributes", "image_url", "score")
_ATTRIBUTE = "attributes."

NEGATIVE_WEIGHT = 0.2
LEAST_LENGTH = 1e-4  # of what examples add up to: less is what rounding left of vectors that cancel each other out

Vectors = NDArray[np.float32]


def shown(score: float) -> float:
    """Return a score as replies show it."""
    return round(float(score), SHOWN_DIGITS)


@dataclass(frozen=True, slots=True)
class Ranking:
    """`k` hits after the first `offset`, among products that satisfy all `conditions`.

    `min_score` leaves out hits whose score, as it is shown, is lower. `group_by` names an attribute: of the hits with
    one value of it only the best counts; products without a value stand for themselves. `collapse` does the same with
    products that show the same picture, or near-duplicates too.
    """

    k: int = 10
    offset: int = 0
    conditions: tuple[Condition, ...] = ()
    min_score: float | None = None
    group_by: str | None = None
    collapse: Kind | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """Some of `NAMES`, and the attributes to send: None for all of them."""

    names: frozenset[str]
    attributes: frozenset[str] | None

    def of(self, hit: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a hit that was asked for; its id is always there."""
        kept = {name: value for name, value in hit.items() if name == "id" or name in self.names}
        if self.attributes is not None and "attributes" in kept:
            kept["attributes"] = {name: one for name, one in kept["attributes"].items() if name in self.attributes}
        return kept


def parse_fields(texts: Sequence[str]) -> Fields | None:
    """Return which fields are named, None where none is: then all are sent. Raises `ProblemError`."""
    if not texts:
        return None
    attributes = frozenset(text.removeprefix(_ATTRIBUTE) for text in texts if text.startswith(_ATTRIBUTE))
    names = {text for text in texts if not text.startswith(_ATTRIBUTE)}
    unknown = sorted(names - {*NAMES, "id"})
    if unknown:
        known = ", ".join(NAMES)
        detail = f"There is no field {unknown[0][:100]!r} of hits; there are: id, {known} and attributes.NAME."
        raise ProblemError("bad_fields", detail)
    if "attributes" in names or not attributes:
        return Fields(frozenset(names), None)
    return Fields(frozenset({*names, "attributes"}), attributes)


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
    """What is searched for, how hits are chosen, and what is sent of them.

    `snapshot` is the one to ask, None for the one that is served.
    """

    positive: tuple[Example, ...]
    ranking: Ranking
    negative: tuple[Example, ...] = ()
    negative_weight: float = NEGATIVE_WEIGHT
    facets: tuple[str, ...] = ()
    fields: Fields | None = None
    snapshot: str | None = None

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
