"""Neighbourhoods: what lies nearest to a few vectors in all of a catalogue, and how many lists hold it.

A sample drawn at random is sparser than the catalogue: neighbours lie further away in it, and an index must visit more
lists to find them. So how many are visited is told from where the true neighbours in the whole catalogue lie.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import faiss
import numpy as np

from tasks.indexing.candidates import SAMPLES_PER_LIST
from tasks.indexing.centroids import centroids
from tasks.indexing.projection import Vectors
from tasks.indexing.training import joined

EQUAL = 1e-5  # of a vector with itself, the score differs from 1 by less


class Neighbourhoods(NamedTuple):
    """Queries (n, d), their nearest vectors (n, k, d), and a sample of all vectors to learn centroids from."""

    queries: Vectors
    nearest: Vectors
    sample: Vectors


def neighbourhoods(queries: Vectors, batches: Iterable[Vectors], k: int, sample: int) -> Neighbourhoods:
    """Find the k nearest of (n, d) queries among vectors that come in batches, at least k + 1, all of length 1.

    A query that is among them is not its own neighbour. At most `sample` of the vectors are kept, the first ones.
    """
    scores = np.full((len(queries), k + 1), -np.inf, np.float32)
    nearest = np.zeros((len(queries), k + 1, queries.shape[1]), np.float32)
    kept: list[Vectors] = []
    for batch in batches:
        found, rows = faiss.knn(queries, batch, min(k + 1, len(batch)), metric=faiss.METRIC_INNER_PRODUCT)
        every = np.concatenate([scores, found], axis=1)
        best = np.argsort(-every, axis=1, kind="stable")[:, : k + 1]
        scores = np.take_along_axis(every, best, axis=1)
        both = np.concatenate([nearest, batch[rows]], axis=1)
        nearest = np.take_along_axis(both, best[:, :, None], axis=1)
        if room := max(0, sample - sum(map(len, kept))):
            kept.append(batch[:room].copy())  # a part of a batch would hold all of it in memory
    is_there = scores[:, 0] >= 1 - EQUAL
    return Neighbourhoods(queries, np.where(is_there[:, None, None], nearest[:, 1:], nearest[:, :-1]), joined(kept))


def lists_to_visit(around: Neighbourhoods, lists: int, target: float) -> int:
    """Return how many of so many lists a query must visit, nearest first, to meet a share of its nearest vectors."""
    if len(around.sample) < lists:
        return lists
    known = centroids(around.sample[: SAMPLES_PER_LIST * lists], lists)
    count, k, dimension = around.nearest.shape
    _, places = faiss.knn(around.nearest.reshape(-1, dimension), known, 1, metric=faiss.METRIC_INNER_PRODUCT)
    scores = around.queries @ known.T
    where = np.take_along_axis(scores, places.reshape(count, k), axis=1)
    ranks = [(scores[query] > where[query, :, None]).sum(axis=1) for query in range(count)]
    return int(np.quantile(ranks, min(target, 1.0), method="higher")) + 1
