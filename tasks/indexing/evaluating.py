"""Evaluation: how many of the true neighbours a search finds."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from tasks.indexing.building import Neighbours
from tasks.indexing.searching import ShardedIndex

Vectors = NDArray[np.float32]

RECALL_AT = 10


def recall(found: Neighbours, exact: Neighbours) -> float:
    """Return the share of the exact neighbours that were found, a product as good as the last one counting as it.

    Equal scores are common (one picture, several products), and which of them is returned is no error.
    """
    worst = exact.scores[:, -1:] - 1e-5
    wanted = (exact.rows >= 0).sum()
    hits = ((found.rows >= 0) & (found.scores >= worst)).sum()
    return float(min(hits / wanted, 1.0)) if wanted else 1.0


def tune(index: ShardedIndex, queries: Vectors, exact: Neighbours, target: float) -> float:
    """Set the index's `nprobe` to the smallest power of two that reaches `target`; return the recall reached."""
    k = exact.rows.shape[1]
    if index.lists is None:
        return recall(index.search(queries, k), exact)
    index.nprobe = 1
    while (reached := recall(index.search(queries, k), exact)) < target and index.nprobe < index.lists:
        index.nprobe = min(index.nprobe * 2, index.lists)
    return reached


def seconds_per_query(index: ShardedIndex, queries: Vectors, k: int) -> float:
    """Return the median time of one query, searched alone."""
    times = []
    for query in queries[:100]:
        start = time.perf_counter()
        index.search(query[None], k)
        times.append(time.perf_counter() - start)
    return float(np.median(times))
