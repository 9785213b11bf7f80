"""Rows and neighbours: which rows a search may find, what it found, and how answers of several parts become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

RECALL_AT = 10

EQUAL = 1e-5  # scores that differ by less belong to the same picture


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

    Safe to share between searches.
    """

    def __init__(self, size: int, mask: NDArray[np.bool_] | None = None) -> None:
        self.size = size
        self.mask = mask
        self.count = size if mask is None else int(np.count_nonzero(mask))
        self._bitmaps: dict[tuple[int, int], NDArray[np.uint8]] = {}

    @property
    def share(self) -> float:
        """The share of the rows that may be found, from 0 to 1."""
        return self.count / self.size

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows from `start` to `stop`; row 0 of the slice is row `start` here."""
        return Rows(stop - start, None if self.mask is None else self.mask[start:stop])

    def to_numbers(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the numbers of the rows from `start` to `stop` that may be found, counted from `start`."""
        return np.arange(stop - start) if self.mask is None else np.flatnonzero(self.mask[start:stop])

    def to_selector(self, start: int, stop: int) -> faiss.IDSelector | None:
        """Return FAISS's selector for rows `start` to `stop`, counted from `start`; None where all may be found."""
        if self.mask is None:
            return None
        bitmap = self._bitmaps.get((start, stop))
        if bitmap is None:
            bitmap = self._bitmaps[start, stop] = np.packbits(self.mask[start:stop], bitorder="little")
        return faiss.IDSelectorBitmap(bitmap)
