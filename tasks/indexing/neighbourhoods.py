"""Neighbourhoods: a sample of a catalogue in which vectors have the neighbours that they have in all of it.

A sample drawn at random is sparser than the catalogue: neighbours lie further away in it, and an index must look at
more lists to find them. Here a few vectors are drawn, and all that lie around them are taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.indexing.projection import Vectors


class Neighbourhood:
    """The vectors nearest to one of them, `size` at most, of those that were added."""

    def __init__(self, centre: Vectors, size: int) -> None:
        self._centre = centre
        self._size = size
        self._scores = np.empty(0, np.float32)
        self.rows: NDArray[np.int64] = np.empty(0, np.int64)
        self.vectors: Vectors = np.empty((0, len(centre)), np.float32)

    def add(self, vectors: Vectors, first_row: int) -> None:
        """Look at (n, d) more vectors, which are those of the rows from `first_row` on."""
        scores = vectors @ self._centre
        full = len(self.rows) == self._size
        near = np.flatnonzero(scores > self._scores.min()) if full else np.arange(len(scores))
        scores = np.concatenate([self._scores, scores[near]])
        best = np.argsort(-scores, kind="stable")[: self._size]
        self._scores = scores[best]
        self.rows = np.concatenate([self.rows, near + first_row])[best]
        self.vectors = np.concatenate([self.vectors, vectors[near]])[best]


def neighbourhoods(centres: Vectors, batches: Iterable[Vectors], size: int) -> list[Neighbourhood]:
    """Return what lies around each of some vectors, nearest first, among all that come in batches."""
    found = [Neighbourhood(centre, size) for centre in centres]
    first_row = 0
    for batch in batches:
        for one in found:
            one.add(batch, first_row)
        first_row += len(batch)
    return found


def split(found: Sequence[Neighbourhood], queries: int) -> tuple[Vectors, Vectors]:
    """Return the vectors in the middle of the neighbourhoods, about `queries` in all, and the others, each once.

    Those in the middle have all of their neighbours in the sample.
    """
    rows = np.concatenate([one.rows for one in found])
    vectors = np.concatenate([one.vectors for one in found])
    middle = -(-queries // len(found))
    asked = np.unique(np.concatenate([one.rows[:middle] for one in found]))
    rows, places = np.unique(rows, return_index=True)
    is_asked = np.isin(rows, asked)
    return vectors[places[is_asked]], vectors[places[~is_asked]]
