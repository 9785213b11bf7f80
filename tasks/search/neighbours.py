"""Rows, neighbours and groups: what a search may find, what it found, and the shards that are searched together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

RECALL_AT = 10

EQUAL = 1e-5  # scores that differ by less belong to the same picture

Vectors = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest of each of n queries: (n, k) scores, best first, and (n, k) rows, -1 where there are fewer."""

    scores: NDArray[np.float32]
    rows: NDArray[np.int64]

    @classmethod
    def empty(cls, queries: int) -> Neighbours:
        """Return no neighbours for each query: arrays (queries, 0)."""
        return cls(np.empty((queries, 0), np.float32), np.empty((queries, 0), np.int64))

    def shift(self, start: int) -> Neighbours:
        """Return neighbours with `start` added to each row: row 0 of a shard is row `start` of the index."""
        return Neighbours(self.scores, np.where(self.rows < 0, -1, self.rows + start)) if start else self

    def exclude(self, own: NDArray[np.int64]) -> Neighbours:
        """Return (n, k - 1) neighbours: row own[i] of query i is left out, or the last one where it was not found."""
        keep = self.rows != own[:, None]
        keep[keep.all(axis=1), -1] = False
        shape = (len(own), self.rows.shape[1] - 1)
        return Neighbours(self.scores[keep].reshape(shape), self.rows[keep].reshape(shape))


def merge(parts: Sequence[Neighbours], k: int) -> Neighbours:
    """Return the k best of several answers to the same queries, best first; equal scores in the order of rows."""
    rows = np.concatenate([part.rows for part in parts], axis=1)
    scores = np.concatenate([part.scores for part in parts], axis=1)
    scores[rows < 0] = -np.inf
    return _take(scores, rows, np.lexsort((rows, -scores), axis=1)[:, :k])


def select_best(parts: Sequence[Neighbours], k: int) -> Neighbours:
    """Return the k best of several answers to the same queries, unsorted: for candidates that are ranked again."""
    if len(parts) == 1 and parts[0].rows.shape[1] <= k:
        return parts[0]
    rows = np.concatenate([part.rows for part in parts], axis=1)
    scores = np.concatenate([part.scores for part in parts], axis=1)
    if rows.shape[1] <= k:
        return Neighbours(scores, rows)
    return _take(scores, rows, np.argpartition(scores, -k, axis=1)[:, -k:])


def _take(scores: NDArray[np.float32], rows: NDArray[np.int64], places: NDArray[np.intp]) -> Neighbours:
    query = np.arange(len(scores))[:, None]  # several times as fast as `take_along_axis` where there is one query
    return Neighbours(scores[query, places], rows[query, places])


class Rows:
    """The rows that a search may find: all of them, or those that a mask (size,) marks.

    What searches need of a mask is made once and kept with it. Safe to share between searches.
    """

    def __init__(self, size: int, mask: NDArray[np.bool_] | None = None) -> None:
        self.size = size
        self.mask = mask
        self.count = size if mask is None else int(np.count_nonzero(mask))
        self._kept: dict[tuple[object, ...], Any] = {}

    @property
    def share(self) -> float:
        """The share of the rows that may be found, from 0 to 1."""
        return self.count / self.size

    def keep(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """Return what was made under a key before, else make and keep it. Two threads at once may both make it."""
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows from `start` to `stop`; row 0 of the slice is row `start` here."""
        mask = self.mask
        return self.keep(("slice", start, stop), lambda: Rows(stop - start, None if mask is None else mask[start:stop]))

    def to_numbers(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the numbers of the rows from `start` to `stop` that may be found, counted from `start`."""
        mask = self.mask
        if mask is None:
            return np.arange(stop - start)
        if self.count * np.dtype(np.int64).itemsize > self.size:  # they would take more memory than the mask
            return np.flatnonzero(mask[start:stop])
        return self.keep(("numbers", start, stop), lambda: np.flatnonzero(mask[start:stop]))

    def to_selector(self, start: int, stop: int) -> faiss.IDSelector | None:
        """Return FAISS's selector for rows `start` to `stop`, counted from `start`; None where all may be found."""
        mask = self.mask
        if mask is None:
            return None
        bitmap = self.keep(("bitmap", start, stop), lambda: np.packbits(mask[start:stop], bitorder="little"))
        return faiss.IDSelectorBitmap(bitmap)


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
    dimension: int

    def search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        """Return the k nearest of (n, d) queries among `rows`, in any order: min(k, rows.count) for each query."""
        if not rows.count:
            return Neighbours.empty(len(queries))
        found = self._search(queries, k, rows, parameters)
        wanted = min(k, rows.count)
        if found.rows.shape[1] == wanted and (found.rows >= 0).all():
            return found
        short = (found.rows >= 0).sum(axis=1) < wanted
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

    def reconstruct_rows(self, rows: NDArray[np.int64]) -> Vectors:
        """Return the (n, d) vectors of (n,) rows, decoded from the finest codes that the group has."""
        return np.stack([self.reconstruct(row) for row in rows.tolist()])

    @abstractmethod
    def warm_up(self, *, on_disk: bool = False) -> None:
        """Read every page into memory, but inverted lists `on_disk`, and prepare what filtered searches need."""


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
