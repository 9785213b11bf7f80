"""Graph: one shard that is searched by walking through a graph of neighbours.

After Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
World graphs", IEEE TPAMI 2018.
"""

from __future__ import annotations

import math

import faiss
import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.codes import GATHER_COST, exact_cost
from lookalike.tasks.search.exact import FlatGroup
from lookalike.tasks.search.group import SearchParameters
from lookalike.tasks.search.neighbours import Neighbours
from lookalike.tasks.search.rows import Rows

DEFAULT_EF_SEARCH = 64
ROWS_PER_CANDIDATE = 32  # vectors that the walk looks at for each candidate it keeps

Vectors = NDArray[np.float32]


class GraphGroup(FlatGroup):
    """An HNSW graph over vectors as they are, or scalar-quantised."""

    def __init__(self, index: faiss.IndexHNSW) -> None:
        super().__init__(faiss.downcast_index(index.storage), owner=index)
        self._index = index

    def _search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        # of what the walk meets only the share that matches is kept: it must meet more, or few matches end it early
        ef_search = max(k, math.ceil((parameters.ef_search or DEFAULT_EF_SEARCH) / rows.share))
        if rows.mask is not None and exact_cost(rows) <= GATHER_COST * ROWS_PER_CANDIDATE * ef_search:
            return self._codes.among(queries, k, rows)
        selector = rows.selector(0, self.size)
        wanted = faiss.SearchParametersHNSW(sel=selector, efSearch=ef_search)
        scores, found = self._index.search(queries, min(k, self.size), params=wanted)
        return Neighbours(scores, found)

    def warm_up(self) -> None:
        """Touch every page, those of the graph too."""
        super().warm_up()
        self._index.search(np.zeros((1, self._index.d), np.float32), 1)
