"""Evaluation: how many of the true neighbours a search finds, and the least effort that finds enough of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.group import SearchParameters
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.neighbours import EQUAL, RECALL_AT, Neighbours

Vectors = NDArray[np.float32]

EXACT_DEPTH = 2 * RECALL_AT  # deep enough to see that the tenth neighbour has equals
K_FACTORS = (10, 20, 40, 80)
K_FACTOR_QUERIES = 250  # each visits every list, and what is looked for is one of four
EF_SEARCH = (16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024)


def recall(found: Neighbours, exact: Neighbours, pictures: NDArray[np.int32] | None = None) -> float:
    """Return recall@10: the share of the ten exact neighbours that were found, averaged over the queries.

    Several products may show one picture; which of those that are as near as the tenth is returned is no error.

    Args:
        found: at least the ten best of each query, (n, 10 or more).
        exact: the EXACT_DEPTH best of each query, (n, EXACT_DEPTH or fewer).
        pictures: the number of the picture that each row shows; None where each shows its own. More rows may show one
            than EXACT_DEPTH has place for.
    """
    wanted = exact.scores[:, :RECALL_AT].shape[1]
    if not wanted:
        return 1.0  # there is but one product, which has no neighbour to find
    rows, tenth = found.rows[:, :RECALL_AT], exact.scores[:, wanted - 1 : wanted]
    nearer = exact.scores > tenth + EQUAL
    as_near = (exact.scores >= tenth - EQUAL) & ~nearer & (exact.rows >= 0)
    places = wanted - nearer.sum(axis=1)
    hits = _hits(rows, exact.rows, nearer) + np.minimum(
        _hits(_shown(rows, pictures), _shown(exact.rows, pictures), as_near), places
    )
    return float((hits / wanted).mean())


def recall_by_score(found: Neighbours, exact: Neighbours) -> float:
    """Return the same where both were scored by the same codes: whatever scores as the tenth is as good as that."""
    wanted = exact.scores[:, :RECALL_AT].shape[1]
    if not wanted:
        return 1.0
    scores, rows = found.scores[:, :RECALL_AT], found.rows[:, :RECALL_AT]
    hits = ((scores >= exact.scores[:, wanted - 1 : wanted] - EQUAL) & (rows >= 0)).sum(axis=1)
    return float((hits / wanted).mean())


def _hits(found: NDArray[np.int64], exact: NDArray[np.int64], counted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many of (n, a) found are among those (n, b) that are counted."""
    right = np.where(counted, exact, -2)  # -1: nothing was found
    hits: NDArray[np.int64] = (found[:, :, None] == right[:, None, :]).any(axis=2).sum(axis=1)
    return hits


def _shown(rows: NDArray[np.int64], pictures: NDArray[np.int32] | None) -> NDArray[np.int64]:
    return rows if pictures is None else np.where(rows < 0, rows, pictures[rows])


class Examination:
    """Queries with their exact answers, to measure an index with.

    That a vector is its own nearest is no merit, and a picture that is searched for is in no index: so the queries are
    not in this one, or cannot be found there.

    Attributes:
        queries: (n, dimension).
        exact: their EXACT_DEPTH best.
        pictures: the number of the picture that each row of the index shows; None where each shows its own.
    """

    def __init__(self, queries: Vectors, exact: Neighbours, pictures: NDArray[np.int32] | None = None) -> None:
        self.queries = queries
        self.exact = exact
        self.pictures = pictures

    def recall(self, index: ShardedIndex) -> float:
        """Return the recall@10 of an index as its parameters are."""
        return recall(index.search(self.queries, RECALL_AT), self.exact, self.pictures)

    def tune(self, index: ShardedIndex, target: float) -> float:
        """Give the index the least effort that reaches `target`; return the recall reached, which may be less."""
        if index.is_graph:
            return self._least(index, target, [SearchParameters(ef_search=ef_search) for ef_search in EF_SEARCH])
        if index.lists is None:
            return self.recall(index)
        k_factor = self._first(K_FACTOR_QUERIES)._k_factor(index, target) if index.is_compressed else None
        steps = _steps(index.lists)
        return self._least(index, target, [SearchParameters(nprobe=step, k_factor=k_factor) for step in steps])

    def _first(self, count: int) -> Examination:
        """Return the examination of the first queries alone."""
        exact = Neighbours(self.exact.scores[:count], self.exact.rows[:count])
        return Examination(self.queries[:count], exact, self.pictures)

    def _k_factor(self, index: ShardedIndex, target: float) -> int:
        """Return the smallest factor with which half of what may be missed is left for lists that are not visited."""
        for k_factor in K_FACTORS:
            index.parameters = SearchParameters(nprobe=index.lists, k_factor=k_factor)
            if self.recall(index) >= (1 + target) / 2:
                break
        return k_factor

    def _least(self, index: ShardedIndex, target: float, ladder: Sequence[SearchParameters]) -> float:
        """Try a ladder of ever more effort by bisection, as recall grows with it; stop at its end."""
        low, high, reached = 0, len(ladder) - 1, {}
        while low < high:
            middle = (low + high) // 2
            index.parameters = ladder[middle]
            reached[middle] = self.recall(index)
            low, high = (low, middle) if reached[middle] >= target else (middle + 1, high)
        index.parameters = ladder[low]
        return reached.get(low) or self.recall(index)


def _steps(lists: int) -> list[int]:
    """Return numbers of lists to visit, each about a fifth more than the one before, from 1 to all."""
    count = max(2, int(4 * np.log2(lists)) + 1)
    return sorted({round(lists ** (step / (count - 1))) for step in range(count)})


def seconds_per_query(index: ShardedIndex, queries: Vectors, k: int) -> float:
    """Return the median time of one query, searched alone."""
    times = []
    for query in queries[:100]:
        start = time.perf_counter()
        index.search(query[None], k)
        times.append(time.perf_counter() - start)
    return float(np.median(times))
