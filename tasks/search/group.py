"""Groups: shards of one kind that are searched together, and the parameters that set the effort of a search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.neighbours import Neighbours, Rows

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SearchParameters:
    """The effort of a search: more effort takes longer and finds more. Parameters that the index type lacks are None.

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
    """Consecutive shards; row 0 is the first row of the first shard. Safe to search from many threads at once."""

    size: int

    def search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        """Return the k nearest of (n, d) queries among `rows`, in any order: min(k, rows.count) for each query."""
        if not rows.count:
            return Neighbours.empty(len(queries))
        found = self._search(queries, k, rows, parameters)
        short = (found.rows >= 0).sum(axis=1) < min(k, rows.count)
        if not short.any():
            return found
        whole = self.search_exact(queries[short], k, rows)  # rare, so the slow way is good enough
        return _replace_short(found, short, whole)

    @abstractmethod
    def _search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        """Return at most k near rows of (n, d) queries, in any order, with the effort that `parameters` set."""

    @abstractmethod
    def search_exact(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        """Return the exact k nearest of (n, d) queries among `rows`, in any order, by comparing with each row."""

    @abstractmethod
    def reconstruct(self, row: int) -> Vectors:
        """Return the (d,) vector of one row, decoded from the finest codes that the group has."""

    @abstractmethod
    def warm_up(self) -> None:
        """Read every page into memory, and prepare what filtered searches need."""


def _replace_short(found: Neighbours, short: NDArray[np.bool_], whole: Neighbours) -> Neighbours:
    """Put the answers `whole` in the place of the queries that `short` marks, (n,); both may differ in width."""
    width = max(found.rows.shape[1], whole.rows.shape[1])
    scores = np.full((len(short), width), -np.inf, np.float32)
    rows = np.full((len(short), width), -1, np.int64)
    scores[~short, : found.rows.shape[1]], rows[~short, : found.rows.shape[1]] = (
        found.scores[~short],
        found.rows[~short],
    )
    scores[short, : whole.rows.shape[1]], rows[short, : whole.rows.shape[1]] = whole.scores, whole.rows
    return Neighbours(scores, rows)
