"""Inverted lists: shards that share one coarse quantiser, so that a query looks for its nearest lists once for all.

The lists hold 8-bit codes, or short ones that are scanned fast and ranked again by a second, finer code: product
quantisation after André, Kermarrec and Le Scouarnec, "Cache locality is not enough", VLDB 2015, or RaBitQ after Gao and
Long, SIGMOD 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import faiss
import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.tasks.search.codes import Codes, exact_cost
from lookalike.tasks.search.group import Group, SearchParameters, nothing
from lookalike.tasks.search.neighbours import Neighbours, select
from lookalike.tasks.search.rows import Rows

DEFAULT_K_FACTOR = 10
FEWEST_CANDIDATES = 10  # times the factor: a search for the one best needs some to choose from, too
ROWS_PER_HIT = 10  # to look at for each result wanted, however few lists were enough for the first ten
MATCHES_PER_HIT = 100  # the same under a filter: what matches lies further apart than what lists were tuned to
ALMOST_ALL = 0.8  # share of rows: from it on, lists need not be chosen by what matches in them
CENTROID_COST = 30  # of ranking one list for a filter, where scanning one short code costs 1
MOST_CANDIDATES = 20_000  # to rank again, but for more results: far down a list, what is a little nearer matters little
DECODED_AT_A_TIME = 2**13  # vectors, to bound memory
RANKED_AT_A_TIME = 2**21  # lists of all queries together, for the same reason: each takes about 45 bytes
COARSE_EF_SEARCH = 12  # at least: finding the nearest lists takes most of the time where few are visited
GRAPH_UP_TO = 1 / 64  # share of lists: to find more by a graph takes longer than to compare all

Vectors = NDArray[np.float32]


def coarse_ef(nprobe: int) -> int:
    """Return with which effort the nearest lists are looked for in a graph of their centroids."""
    return max(COARSE_EF_SEARCH, 2 * nprobe)


class InvertedGroup(Group):
    """Shards of inverted lists that were trained as one. Raises `CorruptError` where they were not."""

    def __init__(self, shards: Sequence[faiss.Index]) -> None:
        self._shards = [_Shard(shard) for shard in shards]
        self._starts = np.cumsum([0, *(shard.size for shard in self._shards)])
        self.size = int(self._starts[-1])
        first = self._shards[0]
        self.lists = int(first.lists.nlist)
        self.is_compressed = first.codes is not None
        self._quantizer = faiss.downcast_index(first.lists.quantizer)
        self._centroids = _vectors(_flat(self._quantizer))
        if any(shard.trained_part() != first.trained_part() for shard in self._shards[1:]):
            raise CorruptError("the shards of this index were not trained as one: build all of them anew")

    def _search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        nprobe = min(parameters.nprobe or 1, self.lists)
        least = ROWS_PER_HIT if rows.share >= ALMOST_ALL else MATCHES_PER_HIT
        budget = max(nprobe * self.size / self.lists, least * k)  # rows to look at
        if not self.is_compressed:
            return self._visit(queries, k, rows, budget)
        if rows.share < ALMOST_ALL and exact_cost(rows) <= budget / rows.share + CENTROID_COST * self.lists:
            return self._among(queries, k, rows)
        candidates = max(k, FEWEST_CANDIDATES) * (parameters.k_factor or DEFAULT_K_FACTOR)
        candidates = max(k, min(candidates, MOST_CANDIDATES))
        found = self._visit(queries, candidates, rows, max(budget, candidates))
        return self._ranked_again(queries, found, k)

    def exact(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        """Return the k nearest by the finest codes there are, looking at each row."""
        if not rows.count:
            return nothing(len(queries))
        if self.is_compressed:
            return self._among(queries, k, rows)
        return self._visit(queries, k, rows, self.size)

    def vector(self, row: int) -> Vectors:
        """Return the (d,) vector of one row, by the finest codes there are."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._shards[number].vector(int(row - self._starts[number]))

    def warm_up(self) -> None:
        """Touch every page, and learn which list each row is in."""
        for shard in self._shards:
            shard.warm_up()

    @property
    def imbalance(self) -> float:
        """How unevenly rows lie in the lists, as FAISS counts it: the mean of a list's size over all rows and lists."""
        sizes = np.sum([shard.list_sizes() for shard in self._shards], axis=0, dtype=np.float64)
        return float(self.lists * (sizes**2).sum() / sizes.sum() ** 2)

    def _each(self) -> list[tuple[_Shard, int, int]]:
        edges = zip(self._starts, self._starts[1:], strict=False)
        return [(shard, int(start), int(stop)) for shard, (start, stop) in zip(self._shards, edges, strict=True)]

    def _visit(self, queries: Vectors, k: int, rows: Rows, budget: float) -> Neighbours:
        """Return the k best in the lists nearest to each query, which hold about `budget` rows that may be found."""
        if rows.share >= ALMOST_ALL:
            nprobe = min(self.lists, math.ceil(budget * self.lists / self.size))
            ranked = self.lists if nprobe > self.lists * GRAPH_UP_TO else nprobe
            return self._by_parts(queries, ranked, lambda some: self._scan(some, k, rows, *self._coarse(some, nprobe)))
        counts = self._matches(rows)
        return self._by_parts(
            queries,
            self.lists,
            lambda some: self._scan(some, k, rows, *self._matching_lists(some, counts, rows.count, budget)),
        )

    def _by_parts(self, queries: Vectors, ranked: int, search: Callable[[Vectors], Neighbours]) -> Neighbours:
        """Search for some queries at a time, each of which ranks so many lists, to bound memory."""
        step = max(1, RANKED_AT_A_TIME // ranked)
        if len(queries) <= step:
            return search(queries)
        parts = [search(queries[start : start + step]) for start in range(0, len(queries), step)]
        return Neighbours(
            np.concatenate([part.scores for part in parts]), np.concatenate([part.rows for part in parts])
        )

    def _matching_lists(
        self, queries: Vectors, counts: NDArray[np.int64], count: int, budget: float
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """Return (n, m) scores and numbers of the lists to visit; a number of -1 is passed over.

        Lists without a match are not visited, but others instead: a filter may leave only what is far from the query.

        Args:
            counts: how many rows of each list match, (lists,).
            count: how many match at all.
        """
        most = math.ceil(budget / count * self.lists)  # lists that hold as many matches where these lie anywhere
        depth = 2 * most + 1
        depth = self.lists if depth > self.lists * GRAPH_UP_TO else depth  # to rank as many, all are compared anyway
        scores, lists = self._coarse(queries, depth)
        matches = _matches_in(lists, counts)
        short = (matches.sum(axis=1) < budget) | ((matches > 0).sum(axis=1) < most)
        if depth < self.lists and short.any():
            scores, lists = _widened(self.lists, scores, lists)
            scores[short], lists[short] = self._coarse(queries[short], self.lists)
            matches = _matches_in(lists, counts)
        lists[~_wanted(matches, budget, most) | (matches == 0)] = -1
        used = int(np.flatnonzero((lists >= 0).any(axis=0)).max(initial=0)) + 1
        return np.ascontiguousarray(scores[:, :used]), np.ascontiguousarray(lists[:, :used])

    def _coarse(self, queries: Vectors, nprobe: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Return the nearest lists, best first: of many by their graph, where few of these are asked for."""
        parameters = None
        if isinstance(self._quantizer, faiss.IndexHNSW):
            if nprobe > self.lists * GRAPH_UP_TO:
                return self._by_comparing(queries, nprobe)
            parameters = faiss.SearchParametersHNSW(efSearch=coarse_ef(nprobe))
        scores, lists = self._quantizer.search(queries, nprobe, params=parameters)
        return scores, lists

    def _by_comparing(self, queries: Vectors, nprobe: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Return the nearest lists by comparing all; sorting them costs less than to keep the best of so many."""
        scores: Vectors = np.einsum("nd,ld->nl", queries, self._centroids)
        lists = np.argsort(-scores, axis=1)[:, :nprobe]
        return np.ascontiguousarray(np.take_along_axis(scores, lists, axis=1)), np.ascontiguousarray(lists)

    def _matches(self, rows: Rows) -> NDArray[np.int64]:
        """Return how many rows of each list may be found."""
        counts = np.zeros(self.lists, np.int64)
        for shard, start, stop in self._each():
            counts += np.bincount(shard.list_of_row()[rows.numbers(start, stop)], minlength=self.lists)
        return counts

    def _scan(self, queries: Vectors, k: int, rows: Rows, scores: Vectors, lists: NDArray[np.int64]) -> Neighbours:
        parts = [
            shard.scan(queries, min(k, shard.size), scores, lists, rows.selector(start, stop)).shifted(start)
            for shard, start, stop in self._each()
        ]
        return select(parts, k)

    def _among(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        parts = [
            shard.codes.among(queries, k, part).shifted(start)
            for shard, start, stop in self._each()
            if shard.codes and (part := rows.part(start, stop)).count
        ]
        return select(parts, k)

    def _ranked_again(self, queries: Vectors, found: Neighbours, k: int) -> Neighbours:
        """Return the k best candidates by their fine codes."""
        count, width = found.rows.shape
        scores = np.empty((count, width), np.float32)
        few = max(1, DECODED_AT_A_TIME // max(1, width))
        for start, left in product(range(0, count, few), range(0, width, DECODED_AT_A_TIME)):
            here = np.s_[start : start + few, left : left + DECODED_AT_A_TIME]
            scores[here] = self._fine_scores(queries[here[0]], found.rows[here])
        return select([Neighbours(scores, found.rows)], k)

    def _fine_scores(self, queries: Vectors, rows: NDArray[np.int64]) -> Vectors:
        """Return the inner products (n, c) of (n, d) queries with the vectors of (n, c) rows."""
        flat = np.maximum(rows.ravel(), 0)
        codes = self._gather(flat)
        decoder = self._shards[0].codes
        assert decoder is not None  # noqa: S101  only what is compressed is ranked again
        vectors = decoder.decode(codes).reshape(*rows.shape, -1)
        scores: Vectors = np.einsum("nd,ncd->nc", queries, vectors)  # no BLAS: its threads would compete for the cores
        scores[rows < 0] = -np.inf
        return scores

    def _gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        if len(self._shards) == 1 and self._shards[0].codes:
            return self._shards[0].codes.gather(rows)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        codes: NDArray[np.uint8] | None = None
        for number in np.unique(numbers):
            fine = self._shards[number].codes
            assert fine is not None  # noqa: S101
            inside = numbers == number
            part = fine.gather(rows[inside] - self._starts[number])
            if codes is None:
                codes = np.empty((len(rows), part.shape[1]), np.uint8)
            codes[inside] = part
        assert codes is not None  # noqa: S101
        return codes


class _Shard:
    """One shard's lists, and its finer codes where it has such."""

    def __init__(self, index: faiss.Index) -> None:
        self._owner = index
        self.size = int(index.ntotal)
        self.codes: Codes | None = None
        self.lists = index
        if isinstance(index, faiss.IndexRefine):
            self.lists = faiss.downcast_index(index.base_index)
            self.codes = Codes(faiss.downcast_index(index.refine_index), index)
        self._list_of_row: NDArray[np.uint32] | None = None

    def scan(
        self,
        queries: Vectors,
        k: int,
        coarse: Vectors,
        lists: NDArray[np.int64],
        selector: faiss.IDSelector | None,
    ) -> Neighbours:
        """Return the k best of (n, d) queries in (n, m) lists, whose (n, m) coarse scores are given."""
        scores = np.empty((len(queries), k), np.float32)
        rows = np.empty((len(queries), k), np.int64)
        parameters = faiss.SearchParametersIVF(nprobe=lists.shape[1], sel=selector)
        # the wrapper of `search_preassigned` takes no parameters, so this calls what it wraps
        self.lists.search_preassigned_c(
            len(queries),
            faiss.swig_ptr(queries),
            k,
            faiss.swig_ptr(lists),
            faiss.swig_ptr(coarse),
            faiss.swig_ptr(scores),
            faiss.swig_ptr(rows),
            False,
            parameters,
        )
        return Neighbours(scores, rows)

    def vector(self, row: int) -> Vectors:
        if self.codes:
            return self.codes.vector(row)
        if self.lists.direct_map.no():
            self.lists.make_direct_map()
        vector: Vectors = self.lists.reconstruct(row)
        return vector

    def warm_up(self) -> None:
        self.list_of_row()
        if self.codes:
            self.codes.touch()
        elif self.lists.direct_map.no():
            self.lists.make_direct_map()
        nothing_near = np.zeros((1, self.lists.d), np.float32)
        self.lists.search(nothing_near, 1, params=faiss.SearchParametersIVF(nprobe=self.lists.nlist))

    def list_sizes(self) -> NDArray[np.int64]:
        invlists = self.lists.invlists
        return np.array([invlists.list_size(number) for number in range(self.lists.nlist)], np.int64)

    def list_of_row(self) -> NDArray[np.uint32]:
        """Return the (size,) list that each row is in."""
        if self._list_of_row is None:
            found = np.zeros(self.size, np.uint32)
            invlists = self.lists.invlists
            for number, size in enumerate(self.list_sizes()):
                if size:
                    found[faiss.rev_swig_ptr(invlists.get_ids(number), int(size))] = number
            self._list_of_row = found
        return self._list_of_row

    def trained_part(self) -> bytes:
        """Return what shards must have in common for their scores to be comparable."""
        learnt = [_flat(faiss.downcast_index(self.lists.quantizer)).reconstruct_n(0, self.lists.nlist)]
        if isinstance(self.lists, faiss.IndexIVFPQFastScan):
            learnt.append(faiss.vector_to_array(self.lists.pq.centroids))
        fine = faiss.downcast_index(self._owner.refine_index) if self.codes else self.lists
        if hasattr(fine, "sq"):
            learnt.append(faiss.vector_to_array(fine.sq.trained))
        return b"".join(part.tobytes() for part in learnt)


def _wanted(matches: NDArray[np.int64], budget: float, most: int) -> NDArray[np.bool_]:
    """Tell which of (n, m) lists to visit, nearest first, by how many matches each holds.

    Those before `budget` matches were seen, and the first `most` that have any: fewer may hold enough rows, but of one
    side only.
    """
    seen = np.cumsum(matches, axis=1) - matches
    filled = np.cumsum(matches > 0, axis=1)
    return (seen < budget) | (filled <= most)


def _matches_in(lists: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many matches there are in each of some lists; none in what is no list."""
    return np.where(lists < 0, 0, counts[lists])


def _widened(width: int, scores: Vectors, lists: NDArray[np.int64]) -> tuple[Vectors, NDArray[np.int64]]:
    """Make room for more lists to each query, none of them for now."""
    more = ((0, 0), (0, width - lists.shape[1]))
    return np.pad(scores, more), np.pad(lists, more, constant_values=-1)


def _vectors(index: faiss.IndexFlat) -> Vectors:
    """Return a view of the (n, d) vectors of an exact index, which must be kept."""
    vectors: Vectors = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)
    return vectors


def _flat(quantizer: faiss.Index) -> faiss.Index:
    """Return the centroids of a coarse quantiser as an index that ranks all of them exactly."""
    return faiss.downcast_index(quantizer.storage) if isinstance(quantizer, faiss.IndexHNSW) else quantizer
