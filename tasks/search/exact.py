"""Exact search of the codes of one shard, and shards whose rows lie one after another.

Codes are vectors in the order of the rows, in full precision or scalar-quantised. They are compared with each, or by
walking through a graph of neighbours, after Malkov and Yashunin, "Efficient and robust approximate nearest neighbor
search using Hierarchical Navigable Small World graphs", IEEE TPAMI 2018.
"""

from __future__ import annotations

import math

import faiss
import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.faiss_io import give_back_around
from lookalike.tasks.search.neighbours import Group, Neighbours, Rows, SearchParameters, merge

GATHER_UP_TO = 0.03  # share of rows: up to it, reading only the matching rows is faster than testing every row
GATHER_COST = 50  # of reading one gathered row; scanning one short code costs 1
COMPARE_COST = 15  # of reading a row in its place
TEST_COST = 2  # of testing whether a row matches
DECODED_AT_A_TIME = 1024  # vectors: of 256 dimensions they stay in the cache of a core, and in memory that is kept

Vectors = NDArray[np.float32]

DEFAULT_EF_SEARCH = 64
ROWS_PER_CANDIDATE = 32  # vectors that the walk reads for each candidate it keeps


class Codes:
    """Reads single vectors of a FAISS index that stores them one after the other. `owner` keeps it in memory."""

    def __init__(self, index: faiss.IndexFlatCodes, owner: faiss.Index) -> None:
        self._index = index
        self._owner = owner
        self.size, self.code_size = int(index.ntotal), int(index.code_size)
        # a view: the file stays mapped, and only the pages that a search touches are read
        view = faiss.rev_swig_ptr(index.codes.data(), self.size * self.code_size)
        self._codes: NDArray[np.uint8] = view.reshape(self.size, self.code_size)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the (n, bytes a vector) codes of (n,) rows."""
        codes: NDArray[np.uint8] = self._codes[rows]
        return codes

    def decode(self, codes: NDArray[np.uint8]) -> Vectors:
        """Return the (n, d) vectors of (n, bytes a vector) codes."""
        vectors: Vectors = self._index.sa_decode(codes)
        return vectors

    def reconstruct(self, row: int) -> Vectors:
        """Return the (d,) vector of one row."""
        vector: Vectors = self.decode(self._codes[row : row + 1])[0]
        return vector

    def search(self, queries: Vectors, k: int, selector: faiss.IDSelector | None) -> Neighbours:
        """Return the k nearest of (n, d) queries among all rows that the selector accepts, by reading each of them."""
        # to make parameters takes longer than to search some hundred rows
        parameters = None if selector is None else faiss.SearchParameters(sel=selector)
        scores, rows = self._index.search(queries, min(k, self.size), params=parameters)
        return Neighbours(scores, rows)

    def search_rows(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        """Return the exact k nearest of (n, d) queries among `rows`."""
        if rows.share > GATHER_UP_TO:
            return self.search(queries, k, rows.to_selector(0, self.size))
        return self._search_gathered(queries, k, rows.to_numbers(0, self.size))

    def _search_gathered(self, queries: Vectors, k: int, rows: NDArray[np.int64]) -> Neighbours:
        parts = [Neighbours.empty(len(queries))]
        for start in range(0, len(rows), DECODED_AT_A_TIME):
            some = rows[start : start + DECODED_AT_A_TIME]
            vectors = self.decode(self._codes[some])
            scores, places = faiss.knn(queries, vectors, min(k, len(some)), metric=faiss.METRIC_INNER_PRODUCT)
            parts.append(Neighbours(scores, some[places]))
        return merge(parts, k)

    def give_back_rest(self) -> None:
        """Let the system take back the memory of all else that the mapped file holds."""
        give_back_around(self._codes)

    def touch(self) -> int:
        """Read every page into memory, by a sum over one byte of each; the sum itself has no meaning."""
        return int(self._codes.ravel()[::4096].sum())


def estimate_exact_cost(rows: Rows) -> float:
    """Return the cost of comparing a query with each of `rows`; scanning one short code costs 1."""
    if rows.share > GATHER_UP_TO:
        return TEST_COST * rows.size + COMPARE_COST * rows.count
    return GATHER_COST * rows.count


class FlatGroup(Group):
    """One shard that is searched exactly. `owner` is the index that keeps the codes in memory, if it is another one."""

    def __init__(self, index: faiss.IndexFlatCodes, owner: faiss.Index | None = None) -> None:
        self.size, self.dimension = int(index.ntotal), int(index.d)
        self._codes = Codes(index, owner or index)

    def _search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        return self.search_exact(queries, k, rows)

    def search_exact(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        return self._codes.search_rows(queries, k, rows) if rows.count else Neighbours.empty(len(queries))

    def reconstruct(self, row: int) -> Vectors:
        return self._codes.reconstruct(row)

    def reconstruct_rows(self, rows: NDArray[np.int64]) -> Vectors:
        return self._codes.decode(self._codes.gather(rows))

    def warm_up(self, *, on_disk: bool = False) -> None:  # exact search reads all of them
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

    def warm_up(self, *, on_disk: bool = False) -> None:
        super().warm_up()
        self._index.search(np.zeros((1, self._index.d), np.float32), 1)
