"""Search across shards: callers see one index, and not how its shards were built."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.tasks.search.exact import FlatGroup, GraphGroup
from lookalike.tasks.search.faiss_io import read_mapped, use_threads
from lookalike.tasks.search.inverted import InvertedGroup
from lookalike.tasks.search.neighbours import Group, Neighbours, Rows, SearchParameters, merge
from lookalike.tasks.search.recent import Recent
from lookalike.tasks.search.views import Views

MOST_BYTES = 64 * 2**20
"""Of what is kept of the filters that were searched last."""

Vectors = NDArray[np.float32]


class ShardedIndex:
    """Shards that answer as one index; row r of it is row r of the snapshot's products.

    Safe to search from many threads at once: each search computes with `threads` threads of its own. `parameters` set
    its effort. `alive` is a mask (rows,) of the rows that can be found, None where all can.

    Where products have further pictures, `views` says whose the last rows of the shards are. A product is then found by
    the nearest of its pictures, and its vector is that of the first one.
    """

    def __init__(
        self,
        shards: Iterable[faiss.Index],
        *,
        nprobe: int | None = None,
        ef_search: int | None = None,
        k_factor: int | None = None,
        threads: int = 1,
        alive: NDArray[np.bool_] | None = None,
        views: Views | None = None,
        shared: Group | None = None,
    ) -> None:
        """Search groups of shards, and take these over; `shared` is the first one, and comes from another index."""
        use_threads(threads)  # which lists are merged with
        self._cold = _group_shards(shards)
        self._groups = [shared, *self._cold] if shared else self._cold
        self._starts = [int(start) for start in np.cumsum([0, *(group.size for group in self._groups)])]
        self.threads = threads
        self.parameters = SearchParameters(nprobe, ef_search, k_factor)
        self.dimension = self._groups[0].dimension
        self.views = views
        self.size = self._starts[-1] - (views.count if views else 0)
        self._alive = self._select(alive)
        self._recent: Recent[tuple[NDArray[np.bool_], list[Rows]]] = Recent(MOST_BYTES)
        self._first_files: tuple[Path, ...] = ()

    @classmethod
    def open(
        cls,
        files: Sequence[Path],
        counts: Sequence[int],
        dimension: int,
        *,
        nprobe: int | None,
        ef_search: int | None = None,
        k_factor: int | None = None,
        threads: int = 1,
        alive: NDArray[np.bool_] | None = None,
        views: Views | None = None,
        previous: ShardedIndex | None = None,
    ) -> ShardedIndex:
        """Map shards into memory. Raises `CorruptError` where a shard differs from what the manifest says.

        Args:
            files: of the shards, named by what they hold; those of further pictures last.
            previous: an open index; if it begins with the same inverted lists, these are shared.
        """

        def open_from(first: int) -> Iterator[faiss.Index]:
            pairs = zip(files[first:], counts[first:], strict=True)
            return (_open_shard(file, count, dimension) for file, count in pairs)

        shared = previous._find_shared(files) if previous else ()
        if shared and any(_has_lists(shard) for shard in islice(open_from(len(shared)), 1)):
            shared = ()  # lists side by side belong into one group
        opened = cls(
            open_from(len(shared)),
            nprobe=nprobe,
            ef_search=ef_search,
            k_factor=k_factor,
            threads=threads,
            alive=alive,
            views=views,
            shared=previous._groups[0] if previous and shared else None,
        )
        if isinstance(opened._groups[0], InvertedGroup):
            opened._first_files = tuple(files[: opened._groups[0].shards])
        for group in opened._cold:
            if isinstance(group, InvertedGroup):
                group.share_quantizer()
        return opened

    def _find_shared(self, files: Sequence[Path]) -> tuple[Path, ...]:
        """Return the files of the inverted lists that this index begins with, if the same ones come first in others."""
        first = self._first_files
        return first if first == tuple(files[: len(first)]) else ()

    @property
    def nprobe(self) -> int | None:
        """How many inverted lists a search visits; None for an index without."""
        return self.parameters.nprobe

    @nprobe.setter
    def nprobe(self, value: int | None) -> None:
        self.parameters = replace(self.parameters, nprobe=value)

    @property
    def lists(self) -> int | None:
        """How many inverted lists the full build has; None for an index without."""
        first = self._groups[0]
        return first.lists if isinstance(first, InvertedGroup) else None

    @property
    def is_exact(self) -> bool:
        """Whether each search looks at every row."""
        return all(type(group) is FlatGroup for group in self._groups)

    @property
    def is_graph(self) -> bool:
        """Whether the full build is searched by walking through a graph."""
        return isinstance(self._groups[0], GraphGroup)

    @property
    def is_compressed(self) -> bool:
        """Whether candidates are found by short codes and ranked again by finer ones."""
        first = self._groups[0]
        return isinstance(first, InvertedGroup) and first.is_compressed

    @property
    def imbalance(self) -> float | None:
        """How unevenly rows lie in the lists of the full build; None for an index without lists.

        It is 1 where all lists are equally long. At 2, a query reads twice as many rows as it would then.
        """
        first = self._groups[0]
        return first.imbalance if isinstance(first, InvertedGroup) else None

    def search(self, queries: Vectors, k: int, *, allowed: NDArray[np.bool_] | None = None) -> Neighbours:
        """Return the k nearest of (n, dimension) queries, among `allowed` rows where a (size,) mask is given, else all.

        The result has fewer than k columns where fewer rows exist, and -1 in `rows` where fewer may be found. What is
        found out about a mask that cannot be written to is kept for the next search.
        """
        return self._search_products(queries, k, allowed, is_exact=False)

    def search_exact(self, queries: Vectors, k: int, *, allowed: NDArray[np.bool_] | None = None) -> Neighbours:
        """Return the exact k nearest of (n, dimension) queries, by comparing with every row: the measure of recall."""
        return self._search_products(queries, k, allowed, is_exact=True)

    def _search_products(
        self, queries: Vectors, k: int, allowed: NDArray[np.bool_] | None, *, is_exact: bool
    ) -> Neighbours:
        use_threads(self.threads)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        rows = self._rows(allowed)
        if self.views is None:
            found = self._search_pictures(queries, k, rows, is_exact=is_exact)
        else:
            findable = sum(some.count for some in rows)
            found = self.views.search(
                lambda depth: self._search_pictures(queries, depth, rows, is_exact=is_exact), k, findable
            )
        return _pad_columns(found, min(k, self.size))

    def _search_pictures(self, queries: Vectors, k: int, allowed: Sequence[Rows], *, is_exact: bool) -> Neighbours:
        found = [
            (
                group.search_exact(queries, k, rows) if is_exact else group.search(queries, k, rows, self.parameters)
            ).shift(start)
            for group, rows, start in zip(self._groups, allowed, self._starts, strict=False)
        ]
        return merge(found, k)

    def compare(self, direction: Vectors, rows: NDArray[np.int64]) -> Vectors:
        """Return the (n,) scores of (n,) rows with a (dimension,) direction, each by the nearest of its pictures."""
        scores: Vectors = self.reconstruct_rows(rows) @ direction
        if self.views is not None:
            places, pictures = self.views.list_pictures(rows)
            np.maximum.at(scores, places, self.reconstruct_rows(pictures) @ direction)
        return scores

    def find_views(self, direction: Vectors, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which picture of each of (n,) rows is the nearest to a direction; 0 where a row has no choice."""
        if self.views is None:
            return np.zeros(len(rows), np.int64)
        places, pictures = self.views.list_pictures(rows)
        best = self.reconstruct_rows(rows) @ direction
        nearest = np.zeros(len(rows), np.int64)
        nearest[places] = 1
        scores = self.reconstruct_rows(pictures) @ direction
        for place, score, number in zip(
            places.tolist(), scores.tolist(), self.views.numbers_of(pictures).tolist(), strict=True
        ):
            if score > best[place]:
                best[place], nearest[place] = score, number
        return nearest

    def reconstruct(self, row: int) -> Vectors:
        """Return the (dimension,) vector of one row, decoded from the index's codes."""
        number = bisect_right(self._starts, row) - 1
        return self._groups[number].reconstruct(int(row - self._starts[number]))

    def reconstruct_rows(self, rows: NDArray[np.int64]) -> Vectors:
        """Return the (n, dimension) vectors of (n,) rows, decoded from the index's codes."""
        if len(self._groups) == 1:
            return self._groups[0].reconstruct_rows(rows)
        vectors = np.empty((len(rows), self.dimension), np.float32)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for number in set(numbers.tolist()):
            own = numbers == number
            vectors[own] = self._groups[number].reconstruct_rows(rows[own] - self._starts[number])
        return vectors

    def warm_up(self, *, on_disk: bool = False) -> None:
        """Read every page into memory, so that the first query after a swap does not wait for the disk.

        With `on_disk`, inverted lists are left where they are: each query reads those that it visits.
        """
        use_threads(self.threads)
        for group in self._cold:
            group.warm_up(on_disk=on_disk)

    def _rows(self, allowed: NDArray[np.bool_] | None) -> list[Rows]:
        if allowed is None:
            return self._alive
        if allowed.flags.writeable:  # it may be another one at the next search
            return self._select(allowed)
        # with the mask itself: while it is kept, no other one gets its id
        size = 2 * self._starts[-1] + 4096  # of all pictures, which are more than the products of the mask
        return self._recent.get(id(allowed), lambda: (allowed, self._select(allowed)), size)[1]

    def _select(self, mask: NDArray[np.bool_] | None) -> list[Rows]:
        return [Rows(size, part) for size, part in self._parts(mask)]

    def _parts(self, mask: NDArray[np.bool_] | None) -> list[tuple[int, NDArray[np.bool_] | None]]:
        mask = mask if mask is None or self.views is None else self.views.expand(mask)
        edges = zip(self._starts, self._starts[1:], strict=False)
        return [(stop - start, None if mask is None else mask[start:stop]) for start, stop in edges]


def _pad_columns(found: Neighbours, k: int) -> Neighbours:
    """Return exactly k columns: rows are -1 and scores -inf where nothing was found."""
    missing = k - found.rows.shape[1]
    if missing <= 0:
        return found
    return Neighbours(
        np.pad(found.scores, ((0, 0), (0, missing)), constant_values=-np.inf),
        np.pad(found.rows, ((0, 0), (0, missing)), constant_values=-1),
    )


def _group_shards(shards: Iterable[faiss.Index]) -> list[Group]:
    """Group shards that are searched together: consecutive shards of inverted lists in one group, others one by one."""
    groups: list[Group] = []
    for has_lists, some in groupby((shard for shard in shards if shard.ntotal), _has_lists):
        if has_lists:
            groups.append(InvertedGroup(some))
        else:
            groups += [GraphGroup(one) if isinstance(one, faiss.IndexHNSW) else FlatGroup(one) for one in some]
    return groups


def _has_lists(shard: faiss.Index) -> bool:
    return isinstance(shard, faiss.IndexIVF | faiss.IndexRefine)


def _open_shard(file: Path, count: int, dimension: int) -> faiss.Index:
    try:
        index = read_mapped(file)
    except RuntimeError as error:
        raise CorruptError(f"an index shard cannot be read: {str(error)[:300]}") from error
    if index.d != dimension or index.ntotal != count or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise CorruptError(
            f"an index shard holds {index.ntotal} vectors of {index.d} dimensions (metric {index.metric_type}), "
            f"the manifest promises {count} of {dimension} by inner product"
        )
    if not isinstance(index, faiss.IndexIVF | faiss.IndexRefine | faiss.IndexHNSW | faiss.IndexFlatCodes):
        raise CorruptError(f"an index shard is of a type that this release cannot search: {type(index).__name__}")
    return index
