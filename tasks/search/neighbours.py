"""Neighbours: what a search finds, and how the answers of several parts become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECALL_AT = 10

EQUAL = 1e-5  # scores that differ by less belong to the same picture


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest of each of n queries: (n, k) scores, best first, and (n, k) rows, -1 where there are fewer."""

    scores: NDArray[np.float32]
    rows: NDArray[np.int64]

    def shifted(self, start: int) -> Neighbours:
        """Return the same neighbours where row 0 is row `start` of something larger."""
        return Neighbours(self.scores, np.where(self.rows < 0, -1, self.rows + start)) if start else self

    def without(self, own: NDArray[np.int64]) -> Neighbours:
        """Return (n, k - 1) neighbours: all but row own[i] of query i, or the last where that is not among them."""
        keep = self.rows != own[:, None]
        keep[keep.all(axis=1), -1] = False
        shape = (len(own), self.rows.shape[1] - 1)
        return Neighbours(self.scores[keep].reshape(shape), self.rows[keep].reshape(shape))


def merge(parts: Sequence[Neighbours], k: int) -> Neighbours:
    """Return the k best of several answers to the same queries; equal scores in the order of rows."""
    rows = np.concatenate([part.rows for part in parts], axis=1)
    scores = np.concatenate([part.scores for part in parts], axis=1)
    scores[rows < 0] = -np.inf
    return _taken(scores, rows, np.lexsort((rows, -scores), axis=1)[:, :k])


def select(parts: Sequence[Neighbours], k: int) -> Neighbours:
    """Return the same in no order, which is faster: what is ranked again anyway need not be sorted."""
    if len(parts) == 1 and parts[0].rows.shape[1] <= k:
        return parts[0]
    rows = np.concatenate([part.rows for part in parts], axis=1)
    scores = np.concatenate([part.scores for part in parts], axis=1)
    if rows.shape[1] <= k:
        return Neighbours(scores, rows)
    return _taken(scores, rows, np.argpartition(scores, -k, axis=1)[:, -k:])


def _taken(scores: NDArray[np.float32], rows: NDArray[np.int64], places: NDArray[np.intp]) -> Neighbours:
    query = np.arange(len(scores))[:, None]  # several times as fast as `take_along_axis` where there is one query
    return Neighbours(scores[query, places], rows[query, places])
