"""Inverted lists: shards that share one coarse quantiser, so that a query ranks the lists once for all shards.

The lists hold 8-bit codes, or short ones that are scanned fast and ranked again by a second, finer code: product
quantisation after André, Kermarrec and Le Scouarnec, "Cache locality is not enough", VLDB 2015, or RaBitQ after Gao and
Long, SIGMOD 2024.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from itertools import product

import faiss
import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.tasks.search.exact import DECODED_AT_A_TIME, Codes, estimate_exact_cost
from lookalike.tasks.search.faiss_io import give_back_around, give_back_pages
from lookalike.tasks.search.neighbours import Group, Neighbours, Rows, SearchParameters, select_best

DEFAULT_K_FACTOR = 10
FEWEST_CANDIDATES = 10  # times the factor: a search for one hit needs candidates to choose from, too
ROWS_PER_HIT = 10  # to read at least for each hit: lists were tuned for ten hits, and more hits need more rows
MATCHES_PER_HIT = (
    100  # rows to read for each hit under a filter: matches lie further apart than the rows that lists were tuned on
)
ALMOST_ALL = 0.8  # share of rows: from it on, lists need not be chosen by their matches
CENTROID_COST = 30  # of ranking one list for a filter; scanning one short code costs 1
MOST_CANDIDATES = (
    20_000  # to rank again, unless more hits are wanted: far down the list, a little nearer matters little
)
TABLE_BYTES = 16  # of FAISS's look-up table for one query and list, by dimension
MOST_TABLES = 2**21  # bytes of these at a time: a server would map larger ones anew for each query
RANKED_AT_A_TIME = 2**21  # lists of all queries together, to bound memory: each takes about 45 bytes
COARSE_EF_SEARCH = 12  # at least: where few lists are visited, finding them takes most of the time
GRAPH_UP_TO = 1 / 64  # share of lists: above it, comparing all centroids is faster than walking through their graph

Vectors = NDArray[np.float32]


def choose_coarse_ef(nprobe: int) -> int:
    """Return the `efSearch` with which the graph of centroids is searched for the `nprobe` nearest lists."""
    return max(COARSE_EF_SEARCH, 2 * nprobe)


class InvertedGroup(Group):
    """Shards of inverted lists with the same trained parts. Raises `CorruptError` where these differ."""

    def __init__(self, shards: Sequence[faiss.Index]) -> None:
        self._shards = [_Shard(shard) for shard in shards]
        self._starts = np.cumsum([0, *(shard.size for shard in self._shards)])
        self.size = int(self._starts[-1])
        first = self._shards[0]
        self.lists, self.dimension = int(first.lists.nlist), int(first.lists.d)
        self.is_compressed = first.codes is not None
        self._quantizer = faiss.downcast_index(first.lists.quantizer)
        self._centroids = _view_vectors(_get_flat(self._quantizer))
        learnt = first.digest_trained()
        for shard in self._shards[1:]:
            if shard.digest_trained() != learnt:
                raise CorruptError("the shards of this index were not trained as one: rebuild all of them")

    def share_quantizer(self) -> None:
        """Free the coarse quantisers of all shards but the first; nobody else may use these shards."""
        for shard in self._shards[1:]:
            shard.take_quantizer(self._shards[0])

    def _search(self, queries: Vectors, k: int, rows: Rows, parameters: SearchParameters) -> Neighbours:
        nprobe = min(parameters.nprobe or 1, self.lists)
        least = ROWS_PER_HIT if rows.share >= ALMOST_ALL else MATCHES_PER_HIT
        budget = max(nprobe * self.size / self.lists, least * k)  # rows to read
        if not self.is_compressed:
            return self._visit(queries, k, rows, budget)
        if rows.share < ALMOST_ALL and estimate_exact_cost(rows) <= budget / rows.share + CENTROID_COST * self.lists:
            return self._search_rows(queries, k, rows)
        candidates = max(k, FEWEST_CANDIDATES) * (parameters.k_factor or DEFAULT_K_FACTOR)
        candidates = max(k, min(candidates, MOST_CANDIDATES))
        found = self._visit(queries, candidates, rows, max(budget, candidates))
        return self._rerank(queries, found, k)

    def search_exact(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        """Return the exact k nearest by the finest codes that the shards have."""
        if not rows.count:
            return Neighbours.empty(len(queries))
        if self.is_compressed:
            return self._search_rows(queries, k, rows)
        return self._visit(queries, k, rows, self.size)

    def reconstruct(self, row: int) -> Vectors:
        """Return the (d,) vector of one row, decoded from the finest codes that its shard has."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._shards[number].reconstruct(int(row - self._starts[number]))

    def reconstruct_rows(self, rows: NDArray[np.int64]) -> Vectors:
        fine = self._shards[0].codes
        if fine:
            return fine.decode(self._gather(rows))
        vectors = np.empty((len(rows), self._shards[0].lists.d), np.float32)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(numbers).tolist():
            inside = numbers == number
            vectors[inside] = self._shards[number].decode_rows(rows[inside] - self._starts[number])
        return vectors

    def warm_up(self, *, on_disk: bool = False) -> None:
        for shard in self._shards:
            shard.warm_up(on_disk=on_disk)

    @property
    def imbalance(self) -> float:
        """FAISS's imbalance factor: the mean size of a row's list, divided by the mean size of a list."""
        sizes = np.sum([shard.count_list_rows() for shard in self._shards], axis=0, dtype=np.float64)
        return float(self.lists * (sizes**2).sum() / sizes.sum() ** 2)

    def _pair_with_ranges(self) -> list[tuple[_Shard, int, int]]:
        edges = zip(self._starts, self._starts[1:], strict=False)
        return [(shard, int(start), int(stop)) for shard, (start, stop) in zip(self._shards, edges, strict=True)]

    def _visit(self, queries: Vectors, k: int, rows: Rows, budget: float) -> Neighbours:
        """Return the k best in the nearest lists of each query, which hold about `budget` findable rows."""
        if rows.share >= ALMOST_ALL:
            nprobe = min(self.lists, math.ceil(budget * self.lists / self.size))
            ranked = self.lists if nprobe > self.lists * GRAPH_UP_TO else nprobe
            return self._search_in_parts(
                queries, ranked, lambda some: self._scan(some, k, rows, *self.find_nearest_lists(some, nprobe))
            )
        counts = rows.keep(("counts of lists",), lambda: self._count_matches(rows))
        return self._search_in_parts(
            queries,
            self.lists,
            lambda some: self._scan(some, k, rows, *self.choose_matching_lists(some, counts, rows.count, budget)),
        )

    def _search_in_parts(self, queries: Vectors, ranked: int, search: Callable[[Vectors], Neighbours]) -> Neighbours:
        """Search for some queries at a time, to bound memory: each of them ranks `ranked` lists."""
        step = max(1, RANKED_AT_A_TIME // ranked)
        if len(queries) <= step:
            return search(queries)
        parts = [search(queries[start : start + step]) for start in range(0, len(queries), step)]
        return Neighbours(
            np.concatenate([part.scores for part in parts]), np.concatenate([part.rows for part in parts])
        )

    def choose_matching_lists(
        self, queries: Vectors, counts: NDArray[np.int64], count: int, budget: float
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """Return (n, m) scores and numbers of the lists to visit; FAISS skips a number of -1.

        Lists without a match are skipped, and lists further away are visited instead: a filter may leave only rows that
        are far from the query.

        Args:
            counts: how many rows of each list match, (lists,).
            count: how many rows match in all lists.
        """
        most = math.ceil(
            budget / count * self.lists
        )  # lists that would hold `budget` matches, if matches were spread evenly
        depth = 2 * most + 1
        depth = self.lists if depth > self.lists * GRAPH_UP_TO else depth  # beyond that all are compared anyway
        scores, lists = self.find_nearest_lists(queries, depth)
        matches = _count_matches_in(lists, counts)
        short = (matches.sum(axis=1) < budget) | ((matches > 0).sum(axis=1) < most)
        if depth < self.lists and short.any():
            scores, lists = _widen(self.lists, scores, lists)
            scores[short], lists[short] = self.find_nearest_lists(queries[short], self.lists)
            matches = _count_matches_in(lists, counts)
        lists[~_choose_visited(matches, budget, most) | (matches == 0)] = -1
        used = int(np.flatnonzero((lists >= 0).any(axis=0)).max(initial=0)) + 1
        return np.ascontiguousarray(scores[:, :used]), np.ascontiguousarray(lists[:, :used])

    def find_nearest_lists(self, queries: Vectors, nprobe: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Return (n, nprobe) scores and numbers of the nearest lists, best first.

        The graph of centroids is used where there is one and `nprobe` is a small share of the lists.
        """
        parameters = None
        if isinstance(self._quantizer, faiss.IndexHNSW):
            if nprobe > self.lists * GRAPH_UP_TO:
                return self._compare_all_lists(queries, nprobe)
            parameters = faiss.SearchParametersHNSW(efSearch=choose_coarse_ef(nprobe))
        scores, lists = self._quantizer.search(queries, nprobe, params=parameters)
        return scores, lists

    def _compare_all_lists(self, queries: Vectors, nprobe: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Return (n, nprobe) scores and numbers of the nearest lists; sorting all is faster than keeping the best."""
        scores: Vectors = np.einsum("nd,ld->nl", queries, self._centroids)
        lists = np.argsort(-scores, axis=1)[:, :nprobe]
        return np.ascontiguousarray(np.take_along_axis(scores, lists, axis=1)), np.ascontiguousarray(lists)

    def _count_matches(self, rows: Rows) -> NDArray[np.int64]:
        """Return (lists,) counts of the rows of each list that may be found."""
        counts = np.zeros(self.lists, np.int64)
        for shard, start, stop in self._pair_with_ranges():
            counts += np.bincount(shard.map_rows_to_lists()[rows.to_numbers(start, stop)], minlength=self.lists)
        return counts

    def _scan(self, queries: Vectors, k: int, rows: Rows, scores: Vectors, lists: NDArray[np.int64]) -> Neighbours:
        step = max(1, MOST_TABLES // (TABLE_BYTES * self.dimension)) if self.is_compressed else lists.shape[1]
        cuts = [np.s_[:, left : left + step] for left in range(0, lists.shape[1], step)]
        some = [(np.ascontiguousarray(scores[cut]), np.ascontiguousarray(lists[cut])) for cut in cuts]
        parts = []
        for shard, start, stop in self._pair_with_ranges():
            selector = rows.to_selector(start, stop)
            parts += [shard.scan(queries, min(k, shard.size), *each, selector).shift(start) for each in some]
        return select_best(parts, k)

    def _search_rows(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        parts = [
            shard.codes.search_rows(queries, k, part).shift(start)
            for shard, start, stop in self._pair_with_ranges()
            if shard.codes and (part := rows.slice(start, stop)).count
        ]
        return select_best(parts, k)

    def _rerank(self, queries: Vectors, found: Neighbours, k: int) -> Neighbours:
        """Return the k best candidates by their fine codes."""
        count, width = found.rows.shape
        scores = np.empty((count, width), np.float32)
        few = max(1, DECODED_AT_A_TIME // max(1, width))
        for start, left in product(range(0, count, few), range(0, width, DECODED_AT_A_TIME)):
            here = np.s_[start : start + few, left : left + DECODED_AT_A_TIME]
            scores[here] = self.score_finely(queries[here[0]], found.rows[here])
        return select_best([Neighbours(scores, found.rows)], k)

    def score_finely(self, queries: Vectors, rows: NDArray[np.int64]) -> Vectors:
        """Return the inner products (n, c) of (n, d) queries with the vectors of (n, c) rows."""
        flat = np.maximum(rows.ravel(), 0)
        codes = self._gather(flat)
        decoder = self._shards[0].codes
        assert decoder is not None  # noqa: S101  only compressed candidates are ranked again
        vectors = decoder.decode(codes).reshape(*rows.shape, -1)
        scores: Vectors = np.einsum("nd,ncd->nc", queries, vectors)  # not BLAS: its threads would compete for the cores
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
    """One shard: its lists, and its finer codes where it has any."""

    def __init__(self, index: faiss.Index) -> None:
        self._owner = index
        self.size = int(index.ntotal)
        self.codes: Codes | None = None
        self.lists = index
        if isinstance(index, faiss.IndexRefine):
            self.lists = faiss.downcast_index(index.base_index)
            self.codes = Codes(faiss.downcast_index(index.refine_index), index)
        self._first: _Shard | None = None
        self._list_of_row: NDArray[np.uint32] | None = None
        self._place_of_row: NDArray[np.uint32] | None = None

    def scan(
        self,
        queries: Vectors,
        k: int,
        coarse: Vectors,
        lists: NDArray[np.int64],
        selector: faiss.IDSelector | None,
    ) -> Neighbours:
        """Return the k best of (n, d) queries in (n, m) lists with (n, m) coarse scores."""
        scores = np.empty((len(queries), k), np.float32)
        rows = np.empty((len(queries), k), np.int64)
        parameters = faiss.SearchParametersIVF(nprobe=lists.shape[1], sel=selector)
        # the Python wrapper `search_preassigned` takes no parameters, so this calls the function below it
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

    def reconstruct(self, row: int) -> Vectors:
        if self.codes:
            return self.codes.reconstruct(row)
        number = int(self.map_rows_to_lists()[row])
        (place,) = np.flatnonzero(self._view_rows(number) == row)
        vector = np.empty(self.lists.d, np.float32)
        self.lists.reconstruct_from_offset(number, int(place), faiss.swig_ptr(vector))
        return vector

    def decode_rows(self, rows: NDArray[np.int64]) -> Vectors:
        """Return the (n, d) vectors of (n,) rows, n at least 1, from the codes in the lists, all at once."""
        numbers, places = self.map_rows_to_lists()[rows], self._map_rows_to_places()[rows]
        head, size = self.lists.coarse_code_size(), self.lists.code_size
        codes = np.empty((len(rows), head + size), np.uint8)  # each behind the number of its list
        codes[:, :head] = numbers.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :head]
        order = np.argsort(numbers, kind="stable")
        for own in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
            codes[own, head:] = self._view_codes(int(numbers[own[0]]))[places[own]]
        vectors: Vectors = self.lists.sa_decode(codes)
        return vectors

    def warm_up(self, *, on_disk: bool) -> None:
        self.map_rows_to_lists()
        if on_disk:
            self._give_back_lists()
            return
        if self.codes:
            self.codes.touch()
            self.codes.give_back_rest()  # FAISS copies packed lists
        nothing_near = np.zeros((1, self.lists.d), np.float32)
        self.lists.search(nothing_near, 1, params=faiss.SearchParametersIVF(nprobe=self.lists.nlist))

    def _give_back_lists(self) -> None:
        """Let the system take back the memory of all lists, of which only the rows' numbers were needed."""
        some = np.flatnonzero(self.count_list_rows())[:1].tolist()
        for number in some:
            give_back_around(self._view_rows(number)[:0])

    def count_list_rows(self) -> NDArray[np.int64]:
        invlists = self.lists.invlists
        return np.array([invlists.list_size(number) for number in range(self.lists.nlist)], np.int64)

    def map_rows_to_lists(self) -> NDArray[np.uint32]:
        """Return (size,) the number of the list that each row is in; computed once."""
        if self._list_of_row is None:
            found = np.zeros(self.size, np.uint32)
            for number in np.flatnonzero(self.count_list_rows()).tolist():
                found[self._view_rows(number)] = number
            self._list_of_row = found
        return self._list_of_row

    def _map_rows_to_places(self) -> NDArray[np.uint32]:
        """Return (size,) the place of each row in its list; computed once, for who asks for many rows."""
        if self._place_of_row is None:
            found = np.zeros(self.size, np.uint32)
            for number in np.flatnonzero(self.count_list_rows()).tolist():
                rows = self._view_rows(number)
                found[rows] = np.arange(len(rows))
            self._place_of_row = found
        return self._place_of_row

    def _view_codes(self, number: int) -> NDArray[np.uint8]:
        """Return a view of the (rows, bytes a vector) codes in a list that is not empty."""
        invlists, size = self.lists.invlists, self.lists.code_size
        rows = int(invlists.list_size(number))
        codes: NDArray[np.uint8] = faiss.rev_swig_ptr(invlists.get_codes(number), rows * size)
        return codes.reshape(rows, size)

    def _view_rows(self, number: int) -> NDArray[np.int64]:
        """Return a view of the rows in a list that is not empty."""
        invlists = self.lists.invlists
        rows: NDArray[np.int64] = faiss.rev_swig_ptr(invlists.get_ids(number), int(invlists.list_size(number)))
        return rows

    def digest_trained(self) -> bytes:
        """Return a hash of all trained parts: shards with the same one give comparable scores."""
        digest = hashlib.sha256(_view_vectors(_get_flat(faiss.downcast_index(self.lists.quantizer))).data)
        if isinstance(self.lists, faiss.IndexIVFPQFastScan):
            digest.update(faiss.vector_to_array(self.lists.pq.centroids))
        fine = faiss.downcast_index(self._owner.refine_index) if self.codes else self.lists
        if hasattr(fine, "sq"):
            digest.update(faiss.vector_to_array(fine.sq.trained))
        return digest.digest()

    def take_quantizer(self, first: _Shard) -> None:
        """Use the coarse quantiser of another shard, and free the own one: 64 MiB of centroids, and their links."""
        own = faiss.downcast_index(self.lists.quantizer)
        give_back_pages(_view_vectors(_get_flat(own)))
        self.lists.quantizer = first.lists.quantizer
        self.lists.own_fields = False
        own.__swig_destroy__(own)  # `this.own(True)` would leave it to Python, whose counts of references then go wrong
        self._first = first  # whose quantiser it is


def _choose_visited(matches: NDArray[np.int64], budget: float, most: int) -> NDArray[np.bool_]:
    """Return a mask of the (n, m) lists to visit, nearest first, from the number of matches in each.

    Lists are visited until `budget` matches are seen, and at least the first `most` lists that have any match: fewer
    lists may hold enough rows, but only on one side of the query.
    """
    seen = np.cumsum(matches, axis=1) - matches
    filled = np.cumsum(matches > 0, axis=1)
    return (seen < budget) | (filled <= most)


def _count_matches_in(lists: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of matches in each list; 0 for a number of -1, which is no list."""
    return np.where(lists < 0, 0, counts[lists])


def _widen(width: int, scores: Vectors, lists: NDArray[np.int64]) -> tuple[Vectors, NDArray[np.int64]]:
    """Widen (n, m) scores and lists to (n, width); the new places hold the list -1, which is none."""
    more = ((0, 0), (0, width - lists.shape[1]))
    return np.pad(scores, more), np.pad(lists, more, constant_values=-1)


def _view_vectors(index: faiss.IndexFlat) -> Vectors:
    """Return a view of the (n, d) vectors of an exact index; the caller must keep the index."""
    vectors: Vectors = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)
    return vectors


def _get_flat(quantizer: faiss.Index) -> faiss.Index:
    """Return the centroids of a coarse quantiser as an index that ranks all of them exactly."""
    return faiss.downcast_index(quantizer.storage) if isinstance(quantizer, faiss.IndexHNSW) else quantizer
