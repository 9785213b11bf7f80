"""Answers: what the search service finds, each from one snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.snapshots.products import Product
from lookalike.serving.errors import ProblemError
from lookalike.serving.query.query import Vectors
from lookalike.serving.search.explanations import Explained
from lookalike.serving.search.facets import Facet
from lookalike.tasks.search.searcher import Hit


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits, all from one snapshot, and the facets that were asked for.

    `total` is how many products satisfy the filters: those that were searched, however close. `hidden` says of each hit
    how many duplicates it stands for; None where duplicates are hits themselves. `explained` says what was understood
    and why each hit is one; None where nobody asks, or nothing could be found.
    """

    snapshot: str
    total: int
    hits: Sequence[Hit]
    facets: Mapping[str, Facet] = field(default_factory=dict)
    hidden: Sequence[int] | None = None
    explained: Explained | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """An answer or a problem for each query of a batch, all from one snapshot."""

    snapshot: str
    answers: Sequence[Answer | ProblemError]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A vector (dimension,) or a problem for each picture, all by the encoder of one snapshot.

    Projected vectors are as the index compares them: of the index's dimension, and of length 1.
    """

    snapshot: str
    encoder: EncoderSection
    dimension: int
    is_projected: bool
    vectors: Sequence[Vectors | ProblemError]


@dataclass(frozen=True, slots=True)
class Listing:
    """Some of `total` products of one snapshot."""

    snapshot: str
    total: int
    products: Sequence[Product]
    facets: Mapping[str, Facet] = field(default_factory=dict)
