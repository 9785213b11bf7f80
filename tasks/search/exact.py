"""Flat: one shard that is searched exactly."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.codes import Codes
from lookalike.tasks.search.group import Group, SearchParameters, nothing
from lookalike.tasks.search.neighbours import Neighbours
from lookalike.tasks.search.rows import Rows

Vectors = NDArray[np.float32]


class FlatGroup(Group):
    """Vectors as they are, or scalar-quantised. `owner` is the index that keeps them in memory, if another does."""

    def __init__(self, index: faiss.IndexFlatCodes, owner: faiss.Index | None = None) -> None:
        self.size = int(index.ntotal)
        self._codes = Codes(index, owner or index)

    def _search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        return self.exact(queries, k, rows)

    def exact(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        """Return the k nearest, looking at each row."""
        return self._codes.among(queries, k, rows) if rows.count else nothing(len(queries))

    def vector(self, row: int) -> Vectors:
        """Return the (d,) vector of one row."""
        return self._codes.vector(row)

    def warm_up(self) -> None:
        """Touch every page."""
        self._codes.touch()
