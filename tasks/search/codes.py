"""Codes: the vectors of one shard in the order of its rows, as they are or scalar-quantised."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.neighbours import Neighbours, merge
from lookalike.tasks.search.rows import Rows

GATHER_UP_TO = 0.03  # share of rows: up to it, reading only these is faster than asking of each whether it matches
GATHER_COST = 50  # of reading a row that was gathered, where scanning one short code costs 1
COMPARE_COST = 15  # of reading a row in its place
TEST_COST = 2  # of asking whether a row matches
GATHERED = 4096  # vectors decoded at a time: as many of 256 dimensions stay in a core's cache

Vectors = NDArray[np.float32]


class Codes:
    """Reads single vectors of a FAISS index that stores them one after the other. `owner` keeps it in memory."""

    def __init__(self, index: faiss.IndexFlatCodes, owner: faiss.Index) -> None:
        self._index = index
        self._owner = owner
        self.size = int(index.ntotal)
        # a view: the file stays mapped, and only what is looked at is read
        view = faiss.rev_swig_ptr(index.codes.data(), self.size * index.code_size)
        self._codes: NDArray[np.uint8] = view.reshape(self.size, index.code_size)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the (n, bytes a vector) codes of (n,) rows."""
        codes: NDArray[np.uint8] = self._codes[rows]
        return codes

    def decode(self, codes: NDArray[np.uint8]) -> Vectors:
        """Return the (n, d) vectors of (n, bytes a vector) codes."""
        vectors: Vectors = self._index.sa_decode(codes)
        return vectors

    def vector(self, row: int) -> Vectors:
        """Return the (d,) vector of one row."""
        vector: Vectors = self.decode(self._codes[row : row + 1])[0]
        return vector

    def exact(self, queries: Vectors, k: int, selector: faiss.IDSelector | None) -> Neighbours:
        """Return the k nearest of (n, d) queries among all rows that the selector lets through."""
        scores, rows = self._index.search(queries, min(k, self.size), params=faiss.SearchParameters(sel=selector))
        return Neighbours(scores, rows)

    def among(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        """Return the k nearest of (n, d) queries among some rows, which is exact."""
        if rows.share > GATHER_UP_TO:
            return self.exact(queries, k, rows.selector(0, self.size))
        return self._gathered(queries, k, rows.numbers(0, self.size))

    def _gathered(self, queries: Vectors, k: int, rows: NDArray[np.int64]) -> Neighbours:
        parts = [Neighbours(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64))]
        for start in range(0, len(rows), GATHERED):
            some = rows[start : start + GATHERED]
            vectors = self.decode(self._codes[some])
            scores, places = faiss.knn(queries, vectors, min(k, len(some)), metric=faiss.METRIC_INNER_PRODUCT)
            parts.append(Neighbours(scores, some[places]))
        return merge(parts, k)

    def touch(self) -> int:
        """Read every page; the sum means nothing."""
        return int(self._codes.ravel()[::4096].sum())


def exact_cost(rows: Rows) -> float:
    """Return what it costs to compare a query with each of some rows; scanning one short code costs 1."""
    if rows.share > GATHER_UP_TO:
        return TEST_COST * rows.size + COMPARE_COST * rows.count
    return GATHER_COST * rows.count
