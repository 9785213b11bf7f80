"""Evaluation: how many of the true neighbours a search finds."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from tasks.indexing.building import Neighbours
from tasks.indexing.searching import ShardedIndex

Vectors = NDArray[np.float32]

RECALL_AT = 10
EXACT_DEPTH = 2 * RECALL_AT  # deep enough to see that the tenth neighbour has equals
EQUAL = 1e-5  # scores that differ by less belong to the same picture


def recall(found: Neighbours, exact: Neighbours) -> float:
    """Return recall@10: the share of the ten exact neighbours that were found, averaged over the queries.

    Several products may show one picture; which of those with equal scores is returned is no error.

    Args:
        found: at least the ten best of each query, (n, 10 or more).
        exact: the EXACT_DEPTH best of each query, (n, EXACT_DEPTH or fewer).
    """
    wanted = exact.scores[:, :RECALL_AT].shape[1]
    tenth = exact.scores[:, wanted - 1 : wanted]
    right = np.where(exact.scores >= tenth - EQUAL, exact.rows, -2)
    hits = (found.rows[:, :RECALL_AT, None] == right[:, None, :]).any(axis=2).sum(axis=1)
    return float((hits / wanted).mean())


def tune(index: ShardedIndex, queries: Vectors, exact: Neighbours, target: float) -> float:
    """Set the index's `nprobe` to the smallest power of two that reaches `target`; return the recall reached."""
    if index.lists is None:
        return recall(index.search(queries, RECALL_AT), exact)
    index.nprobe = 1
    while (reached := recall(index.search(queries, RECALL_AT), exact)) < target and index.nprobe < index.lists:
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
