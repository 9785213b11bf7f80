"""Inverted lists: shards that share one coarse quantiser, so that a query ranks the lists once for all shards.

The lists hold 8-bit codes, or short ones that are scanned fast and ranked again by a second, finer code: product
quantisation after André, Kermarrec and Le Scouarnec, "Cache locality is not enough", VLDB 2015, or RaBitQ after Gao and
Long, SIGMOD 2024. Lists of short codes are merged over all shards: a scan computes look-up tables for each list, which
takes longer than the scan itself where a list of one shard holds a few rows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from itertools import product
from threading import Lock

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

    def __init__(self, shards: Iterable[faiss.Index]) -> None:
        """Take shards over, one after another: nobody else may use them after that."""
        self._parts: list[_Lists] = []  # one for each shard, or one for all where they are merged
        self._codes: list[Codes] = []  # of each shard that has finer ones
        learnt = b""
        for shard in shards:
            digest = _digest_trained(shard)
            if digest != (learnt := learnt or digest):
                raise CorruptError("the shards of this index were not trained as one: rebuild all of them")
            self._take(shard)
        self._starts = np.cumsum([0, *(held.size for held in self._codes or self._parts)])
        self.size, self.shards = int(self._starts[-1]), len(self._starts) - 1
        first = self._parts[0].index
        self.lists, self.dimension = int(first.nlist), int(first.d)
        self._quantizer = faiss.downcast_index(first.quantizer)
        self._centroids = _view_vectors(_get_flat(self._quantizer))

    def _take(self, shard: faiss.Index) -> None:
        lists = _Lists(_get_lists(shard))
        if isinstance(shard, faiss.IndexRefine):
            self._codes.append(Codes(faiss.downcast_index(shard.refine_index), shard))
        if self._codes and self._parts:
            self._parts[0].take_rows(lists)
        else:
            self._parts.append(lists)

    @property
    def is_compressed(self) -> bool:
        """Whether candidates are found by short codes and ranked again by finer ones."""
        return bool(self._codes)

    def share_quantizer(self) -> None:
        """Free the coarse quantisers of all shards but the first."""
        for part in self._parts[1:]:
            part.take_quantizer(self._parts[0])

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
        held: Codes | _Lists = (self._codes or self._parts)[number]
        return held.reconstruct(int(row - self._starts[number]))

    def reconstruct_rows(self, rows: NDArray[np.int64]) -> Vectors:
        if self.is_compressed:
            return self._codes[0].decode(self._gather(rows))
        if len(self._parts) == 1:
            return self._parts[0].decode_rows(rows)
        vectors = np.empty((len(rows), self.dimension), np.float32)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for number in set(numbers.tolist()):
            inside = numbers == number
            vectors[inside] = self._parts[number].decode_rows(rows[inside] - self._starts[number])
        return vectors

    def warm_up(self, *, on_disk: bool = False) -> None:
        for part in self._parts:
            part.map_rows_to_lists()
            if on_disk:
                part.give_back_lists()
            elif not self.is_compressed:  # FAISS copies packed lists
                part.touch()
        for codes in [] if on_disk else self._codes:
            codes.touch()
            codes.give_back_rest()

    @property
    def imbalance(self) -> float:
        """FAISS's imbalance factor: the mean size of a row's list, divided by the mean size of a list."""
        sizes = np.sum([part.count_list_rows() for part in self._parts], axis=0, dtype=np.float64)
        return float(self.lists * (sizes**2).sum() / sizes.sum() ** 2)

    def _list_parts(self) -> list[tuple[_Lists, int, int]]:
        """Return the lists, and from which row to which row they hold."""
        starts = self._starts.tolist()
        return [(part, start, start + part.size) for part, start in zip(self._parts, starts, strict=False)]

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
        for part, start, stop in self._list_parts():
            counts += np.bincount(part.map_rows_to_lists()[rows.to_numbers(start, stop)], minlength=self.lists)
        return counts

    def _scan(self, queries: Vectors, k: int, rows: Rows, scores: Vectors, lists: NDArray[np.int64]) -> Neighbours:
        step = max(1, MOST_TABLES // (TABLE_BYTES * self.dimension)) if self.is_compressed else lists.shape[1]
        cuts = [np.s_[:, left : left + step] for left in range(0, lists.shape[1], step)]
        some = [(np.ascontiguousarray(scores[cut]), np.ascontiguousarray(lists[cut])) for cut in cuts]
        found = []
        for part, start, stop in self._list_parts():
            selector = rows.to_selector(start, stop)
            found += [part.scan(queries, min(k, part.size), *each, selector).shift(start) for each in some]
        return select_best(found, k)

    def _search_rows(self, queries: Vectors, k: int, rows: Rows) -> Neighbours:
        found = [
            codes.search_rows(queries, k, some).shift(start)
            for codes, start in zip(self._codes, self._starts.tolist(), strict=False)
            if (some := rows.slice(start, start + codes.size)).count
        ]
        return select_best(found, k)

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
        vectors = self._codes[0].decode(self._gather(flat)).reshape(*rows.shape, -1)
        scores: Vectors = np.einsum("nd,ncd->nc", queries, vectors)  # not BLAS: its threads would compete for the cores
        scores[rows < 0] = -np.inf
        return scores

    def _gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        if len(self._codes) == 1:
            return self._codes[0].gather(rows)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        codes = np.empty((len(rows), self._codes[0].code_size), np.uint8)
        for number in np.unique(numbers):
            inside = numbers == number
            codes[inside] = self._codes[number].gather(rows[inside] - self._starts[number])
        return codes


class _Lists:
    """Inverted lists of one shard, or of several that were merged."""

    def __init__(self, index: faiss.IndexIVF) -> None:
        self.index = index
        self.size = int(index.ntotal)
        self._first: _Lists | None = None
        self._list_of_row: NDArray[np.uint32] | None = None
        self._lock = Lock()
        self._knows_places = False

    def take_rows(self, other: _Lists) -> None:
        """Take over the packed rows of another shard, behind the own ones, and free what is left of its lists."""
        own, its = (faiss.downcast_InvertedLists(one.index.invlists) for one in (self, other))
        sizes = self.count_list_rows()
        for number in np.flatnonzero((sizes > 0) & (sizes % own.block_size == 0)).tolist():
            # FAISS 1.15 takes this many rows for whole blocks, and writes past their end
            _append_one_by_one(own, its, number, self.size)
        self.index.merge_from(other.index, self.size)
        self.size += other.size
        other.take_quantizer(self)
        other.index.replace_invlists(None, False)

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
        self.index.search_preassigned_c(
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
        number = int(self.map_rows_to_lists()[row])
        (place,) = np.flatnonzero(self._view_rows(number) == row)
        vector = np.empty(self.index.d, np.float32)
        self.index.reconstruct_from_offset(number, int(place), faiss.swig_ptr(vector))
        return vector

    def decode_rows(self, rows: NDArray[np.int64]) -> Vectors:
        """Return the (n, d) vectors of (n,) rows. Where each row lies takes 8 bytes a row from the first call on."""
        if not self._knows_places:
            with self._lock:
                self.index.set_direct_map_type(faiss.DirectMap.Array)
            self._knows_places = True
        vectors: Vectors = self.index.reconstruct_batch(rows)
        return vectors

    def touch(self) -> None:
        """Read all of them into memory."""
        nothing_near = np.zeros((1, self.index.d), np.float32)
        self.index.search(nothing_near, 1, params=faiss.SearchParametersIVF(nprobe=self.index.nlist))

    def give_back_lists(self) -> None:
        """Let the system take back the memory of all lists, of which only the rows' numbers were needed."""
        some = np.flatnonzero(self.count_list_rows())[:1].tolist()
        for number in some:
            give_back_around(self._view_rows(number)[:0])

    def count_list_rows(self) -> NDArray[np.int64]:
        invlists = self.index.invlists
        return np.array([invlists.list_size(number) for number in range(self.index.nlist)], np.int64)

    def map_rows_to_lists(self) -> NDArray[np.uint32]:
        """Return (size,) the number of the list that each row is in; computed once."""
        if self._list_of_row is None:
            found = np.zeros(self.size, np.uint32)
            for number in np.flatnonzero(self.count_list_rows()).tolist():
                found[self._view_rows(number)] = number
            self._list_of_row = found
        return self._list_of_row

    def _view_rows(self, number: int) -> NDArray[np.int64]:
        """Return a view of the rows in a list that is not empty."""
        invlists = self.index.invlists
        rows: NDArray[np.int64] = faiss.rev_swig_ptr(invlists.get_ids(number), int(invlists.list_size(number)))
        return rows

    def take_quantizer(self, first: _Lists) -> None:
        """Use the coarse quantiser of other lists, and free the own one: 64 MiB of centroids, and their links."""
        own = faiss.downcast_index(self.index.quantizer)
        give_back_pages(_view_vectors(_get_flat(own)))
        self.index.quantizer = first.index.quantizer
        self.index.own_fields = False
        own.__swig_destroy__(own)  # `this.own(True)` would leave it to Python, whose counts of references then go wrong
        self._first = first  # whose quantiser it is


def _append_one_by_one(own: faiss.BlockInvertedLists, other: faiss.BlockInvertedLists, number: int, start: int) -> None:
    """Move the rows of one list, of which the first is row `start`, behind those of the same list."""
    held, more = int(own.list_size(number)), int(other.list_size(number))
    if not more:
        return
    own.resize(number, held + more)
    code = np.empty(own.packer.code_size, np.uint8)
    for place in range(more):
        own.packer.unpack_1_c(other.get_codes(number), place, faiss.swig_ptr(code))
        own.packer.pack_1_c(faiss.swig_ptr(code), held + place, own.get_codes(number))
    rows = faiss.rev_swig_ptr(own.get_ids(number), held + more)
    rows[held:] = faiss.rev_swig_ptr(other.get_ids(number), more) + start
    other.resize(number, 0)


def _get_lists(shard: faiss.Index) -> faiss.IndexIVF:
    return faiss.downcast_index(shard.base_index) if isinstance(shard, faiss.IndexRefine) else shard


def _digest_trained(shard: faiss.Index) -> bytes:
    """Return a hash of all trained parts: shards with the same one give comparable scores."""
    lists = _get_lists(shard)
    fine = faiss.downcast_index(shard.refine_index) if isinstance(shard, faiss.IndexRefine) else lists
    digest = hashlib.sha256(f"{type(shard).__name__} {type(lists).__name__} {type(fine).__name__}".encode())
    digest.update(_view_vectors(_get_flat(faiss.downcast_index(lists.quantizer))).data)
    if isinstance(lists, faiss.IndexIVFPQFastScan):
        digest.update(faiss.vector_to_array(lists.pq.centroids))
    if hasattr(fine, "sq"):
        digest.update(faiss.vector_to_array(fine.sq.trained))
    return digest.digest()


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
