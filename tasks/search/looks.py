"""Looks: products by what their pictures look like, for a text, without a model that knows both.

A text is near to titles, and titles have pictures. So the pictures of the nearest titles are examples of what the text
means, and the picture search does the rest. It finds products without a title, too.

After Norelli et al., "ASIF: coupled data turns unimodal models to multimodal without training", NeurIPS 2023. That
examples add up to a query is older: Rocchio, "Relevance feedback in information retrieval", 1971.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.channels import Mask, Rows
from lookalike.tasks.search.meaning import NearTexts
from lookalike.tasks.search.projection import normalise
from lookalike.tasks.search.searcher import Searcher

EXAMPLES = 30
POWER = 5  # of a title's similarity: what is much nearer counts much more

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Examples:
    """The products that show what a text means: (n,) rows, best first, (n,) weights, which add up to 1, and where the
    weighted mean of their pictures lies in the index's space, (dimension,) of length 1.
    """

    rows: Rows
    weights: Vectors
    direction: Vectors


def find_examples(searcher: Searcher, texts: NearTexts, allowed: Mask | None = None) -> Examples | None:
    """Return the products whose titles are nearest to a text; None where none has anything in common.

    `allowed` is a mask of the products to look among; by default all that are alive.
    """
    scores, rows = texts.find(EXAMPLES, allowed)
    weights = scores**POWER
    if not weights.sum():
        return None
    shares = (weights / weights.sum()).astype(np.float32)
    direction: Vectors = normalise((shares @ searcher.directions_of(rows))[None])[0]
    return Examples(rows, shares, direction) if direction.any() else None
