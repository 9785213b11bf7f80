"""Groups: shards of one kind that are searched together, whatever the kind.

Search parameters: how hard a search tries, which is what recall is bought with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.neighbours import Neighbours
from lookalike.tasks.search.rows import Rows

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SearchParameters:
    """Those that the index type has; the others are None.

    Attributes:
        nprobe: inverted lists to visit.
        ef_search: candidates that a walk through a graph keeps.
        k_factor: for each result wanted, how many candidates in compressed form are ranked again by their vectors.
    """

    nprobe: int | None = None
    ef_search: int | None = None
    k_factor: int | None = None

    def __str__(self) -> str:
        named = {"nprobe": self.nprobe, "ef_search": self.ef_search, "k_factor": self.k_factor}
        return ", ".join(f"{name} {value}" for name, value in named.items() if value) or "exact"


class Group(ABC):
    """Consecutive shards; row 0 is the first of the first of them. Safe to search from many threads at once."""

    size: int

    def search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        """Return the k nearest of (n, d) queries among some rows, in any order: exactly min(k, rows.count) for each."""
        if not rows.count:
            return nothing(len(queries))
        found = self._search(queries, k, rows, parameters)
        short = (found.rows >= 0).sum(axis=1) < min(k, rows.count)
        if not short.any():
            return found
        whole = self.exact(queries[short], k, rows)  # too few were near enough to be seen: rare, so it may take longer
        return _replaced(found, short, whole)

    @abstractmethod
    def _search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        """Return at most the k nearest in any order, as far as the parameters go."""

    @abstractmethod
    def exact(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        """Return the k nearest of (n, d) queries among some rows in any order, looking at each of those."""

    @abstractmethod
    def vector(self, row: int) -> Vectors:
        """Return the (d,) vector of one row, as it is held."""

    @abstractmethod
    def warm_up(self) -> None:
        """Touch every page, and make ready what filtered searches need."""


def nothing(queries: int) -> Neighbours:
    """Return no neighbours for so many queries."""
    return Neighbours(np.empty((queries, 0), np.float32), np.empty((queries, 0), np.int64))


def _replaced(found: Neighbours, short: NDArray[np.bool_], whole: Neighbours) -> Neighbours:
    width = max(found.rows.shape[1], whole.rows.shape[1])
    scores = np.full((len(short), width), -np.inf, np.float32)
    rows = np.full((len(short), width), -1, np.int64)
    scores[~short, : found.rows.shape[1]], rows[~short, : found.rows.shape[1]] = (
        found.scores[~short],
        found.rows[~short],
    )
    scores[short, : whole.rows.shape[1]], rows[short, : whole.rows.shape[1]] = whole.scores, whole.rows
    return Neighbours(scores, rows)
