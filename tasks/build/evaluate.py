"""Evaluate an index: which share of the true neighbours it finds, and which least effort finds enough of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.neighbours import EQUAL, RECALL_AT, Neighbours, SearchParameters

Vectors = NDArray[np.float32]

EXACT_DEPTH = 2 * RECALL_AT  # deep enough to see whether other rows score as high as the tenth
K_FACTORS = (10, 20, 40, 80)
K_FACTOR_QUERIES = 250  # each visits every list, and there are only four factors to choose from
EF_SEARCH = (16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024)


def compute_recall(found: Neighbours, exact: Neighbours, pictures: NDArray[np.int32] | None = None) -> float:
    """Return recall@10: the share of the ten exact neighbours that were found, averaged over the queries.

    Several products may show one picture. Any row that is as near as the tenth is as good as the tenth.

    Args:
        found: at least the ten best of each query, (n, 10 or more).
        exact: the EXACT_DEPTH best of each query, (n, EXACT_DEPTH or fewer).
        pictures: the number of the picture that each row shows; None where each shows its own. One picture may have
            more rows than EXACT_DEPTH.
    """
    wanted = exact.scores[:, :RECALL_AT].shape[1]
    if not wanted:
        return 1.0  # the only product has no neighbour
    rows, tenth = found.rows[:, :RECALL_AT], exact.scores[:, wanted - 1 : wanted]
    nearer = exact.scores > tenth + EQUAL
    as_near = (exact.scores >= tenth - EQUAL) & ~nearer & (exact.rows >= 0)
    places = wanted - nearer.sum(axis=1)
    hits = _count_hits(rows, exact.rows, nearer) + np.minimum(
        _count_hits(_map_to_pictures(rows, pictures), _map_to_pictures(exact.rows, pictures), as_near), places
    )
    return float((hits / wanted).mean())


def compute_recall_by_score(found: Neighbours, exact: Neighbours) -> float:
    """Return recall@10 where both were scored by the same codes: any row that scores as high as the tenth counts."""
    wanted = exact.scores[:, :RECALL_AT].shape[1]
    if not wanted:
        return 1.0
    scores, rows = found.scores[:, :RECALL_AT], found.rows[:, :RECALL_AT]
    hits = ((scores >= exact.scores[:, wanted - 1 : wanted] - EQUAL) & (rows >= 0)).sum(axis=1)
    return float((hits / wanted).mean())


def _count_hits(found: NDArray[np.int64], exact: NDArray[np.int64], counted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (n,) how many of (n, a) found rows are among the (n, b) exact rows that `counted` marks."""
    right = np.where(counted, exact, -2)  # not -1, which means that nothing was found
    hits: NDArray[np.int64] = (found[:, :, None] == right[:, None, :]).any(axis=2).sum(axis=1)
    return hits


def _map_to_pictures(rows: NDArray[np.int64], pictures: NDArray[np.int32] | None) -> NDArray[np.int64]:
    return rows if pictures is None else np.where(rows < 0, rows, pictures[rows])


class Examination:
    """Queries with their exact answers, to measure an index with.

    The queries are not in the index, or cannot be found there: users search with pictures that no index holds, and a
    vector that finds itself says nothing about the index.

    Attributes:
        queries: (n, dimension).
        exact: the EXACT_DEPTH best of each query.
        pictures: the number of the picture that each row of the index shows; None where each shows its own.
    """

    def __init__(self, queries: Vectors, exact: Neighbours, pictures: NDArray[np.int32] | None = None) -> None:
        self.queries = queries
        self.exact = exact
        self.pictures = pictures

    def recall(self, index: ShardedIndex) -> float:
        """Return the recall@10 of an index with its present parameters."""
        return compute_recall(index.search(self.queries, RECALL_AT), self.exact, self.pictures)

    def tune(self, index: ShardedIndex, target: float) -> float:
        """Set the least effort that reaches `target` on the index; return the recall reached, which may be lower."""
        if index.is_graph:
            return self._find_least_effort(
                index, target, [SearchParameters(ef_search=ef_search) for ef_search in EF_SEARCH]
            )
        if index.lists is None:
            return self.recall(index)
        k_factor = self._take_first(K_FACTOR_QUERIES)._tune_k_factor(index, target) if index.is_compressed else None
        steps = _list_steps(index.lists)
        return self._find_least_effort(
            index, target, [SearchParameters(nprobe=step, k_factor=k_factor) for step in steps]
        )

    def _take_first(self, count: int) -> Examination:
        exact = Neighbours(self.exact.scores[:count], self.exact.rows[:count])
        return Examination(self.queries[:count], exact, self.pictures)

    def _tune_k_factor(self, index: ShardedIndex, target: float) -> int:
        """Return the smallest factor that costs at most half of the recall that `target` allows to lose.

        The other half is left for lists that a search does not visit.
        """
        for k_factor in K_FACTORS[:-1]:
            index.parameters = SearchParameters(nprobe=index.lists, k_factor=k_factor)
            if self.recall(index) >= (1 + target) / 2:
                return k_factor
        return K_FACTORS[-1]  # nothing is left to choose, and each try visits every list

    def _find_least_effort(self, index: ShardedIndex, target: float, ladder: Sequence[SearchParameters]) -> float:
        """Set the first step of a ladder of growing effort that reaches `target`, or the last; return its recall.

        Recall grows with effort, so the step is found by bisection.
        """
        low, high, reached = 0, len(ladder) - 1, {}
        while low < high:
            middle = (low + high) // 2
            index.parameters = ladder[middle]
            reached[middle] = self.recall(index)
            low, high = (low, middle) if reached[middle] >= target else (middle + 1, high)
        index.parameters = ladder[low]
        return reached.get(low) or self.recall(index)


class ExaminationByScore(Examination):
    """Queries whose exact answers come from the codes of the index itself: any row that scores as high counts."""

    def recall(self, index: ShardedIndex) -> float:
        return compute_recall_by_score(index.search(self.queries, RECALL_AT), self.exact)

    def _take_first(self, count: int) -> ExaminationByScore:
        taken = super()._take_first(count)
        return ExaminationByScore(taken.queries, taken.exact)


def _list_steps(lists: int) -> list[int]:
    """Return numbers of lists to visit, each about a fifth more than the one before, from 1 to all."""
    count = max(2, int(4 * np.log2(lists)) + 1)
    return sorted({round(lists ** (step / (count - 1))) for step in range(count)})


def measure_seconds_per_query(index: ShardedIndex, queries: Vectors, k: int) -> float:
    """Return the median seconds of one query, searched alone."""
    times = []
    for query in queries[:100]:
        start = time.perf_counter()
        index.search(query[None], k)
        times.append(time.perf_counter() - start)
    return float(np.median(times))
