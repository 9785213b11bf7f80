"""Shards whose rows lie one after another: searched exactly, or by walking through a graph of neighbours.

The graph is after Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
Navigable Small World graphs", IEEE TPAMI 2018.
"""

from __future__ import annotations

import math

import faiss
import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.codes import GATHER_COST, Codes, estimate_exact_cost
from lookalike.tasks.search.group import Group, SearchParameters
from lookalike.tasks.search.neighbours import Neighbours, Rows

DEFAULT_EF_SEARCH = 64
ROWS_PER_CANDIDATE = 32  # vectors that the walk reads for each candidate it keeps

Vectors = NDArray[np.float32]


class FlatGroup(Group):
    """One shard that is searched exactly. `owner` is the index that keeps the codes in memory, if it is another one."""

    def __init__(self, index: faiss.IndexFlatCodes, owner: faiss.Index | None = None) -> None:
        self.size = int(index.ntotal)
        self._codes = Codes(index, owner or index)

    def _search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        return self.search_exact(queries, k, rows)

    def search_exact(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        return self._codes.search_rows(queries, k, rows) if rows.count else Neighbours.empty(len(queries))

    def reconstruct(self, row: int) -> Vectors:
        return self._codes.reconstruct(row)

    def warm_up(self) -> None:
        self._codes.touch()


class GraphGroup(FlatGroup):
    """One shard with an HNSW graph over its codes."""

    def __init__(self, index: faiss.IndexHNSW) -> None:
        super().__init__(faiss.downcast_index(index.storage), owner=index)
        self._index = index

    def _search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        # only the matching share of the rows that the walk meets is kept, so the walk must be wider for a rarer match
        ef_search = max(k, math.ceil((parameters.ef_search or DEFAULT_EF_SEARCH) / rows.share))
        if rows.mask is not None and estimate_exact_cost(rows) <= GATHER_COST * ROWS_PER_CANDIDATE * ef_search:
            return self._codes.search_rows(queries, k, rows)
        selector = rows.to_selector(0, self.size)
        wanted = faiss.SearchParametersHNSW(sel=selector, efSearch=ef_search)
        scores, found = self._index.search(queries, min(k, self.size), params=wanted)
        return Neighbours(scores, found)

    def warm_up(self) -> None:
        super().warm_up()
        self._index.search(np.zeros((1, self._index.d), np.float32), 1)
