"""Search across shards: one index to its callers, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from data.errors import CorruptError
from tasks.indexing.building import Neighbours
from tasks.indexing.threads import use_threads

EXACT_BELOW = 0.05  # share of rows that match a filter: below it, all lists are visited for them

Vectors = NDArray[np.float32]


class ShardedIndex:
    """Shards that answer as one index; row r of it is row r of the snapshot's products.

    Safe to search from many threads at once. `nprobe` is the number of inverted lists to visit in each shard,
    `alive` a mask (rows,) of those that can be found, None where all can.
    """

    def __init__(
        self,
        shards: Sequence[faiss.Index],
        *,
        nprobe: int | None = None,
        threads: int = 1,
        alive: NDArray[np.bool_] | None = None,
    ) -> None:
        self._shards = list(shards)
        self._starts = np.cumsum([0, *(shard.ntotal for shard in self._shards)])
        self._threads = threads
        self.nprobe = nprobe
        self.dimension = int(self._shards[0].d)
        self.size = int(self._starts[-1])
        self._alive = [None if alive is None else _bitmap(alive[rows]) for rows in self._slices()]

    @classmethod
    def open(
        cls,
        files: Sequence[Path],
        counts: Sequence[int],
        dimension: int,
        *,
        nprobe: int | None,
        threads: int = 1,
        alive: NDArray[np.bool_] | None = None,
    ) -> ShardedIndex:
        """Map shards into memory. Raises `CorruptError` where one is not what the manifest says."""
        shards = [_open_shard(file, count, dimension) for file, count in zip(files, counts, strict=True)]
        return cls(shards, nprobe=nprobe, threads=threads, alive=alive)

    @property
    def lists(self) -> int | None:
        """How many inverted lists a shard of the full build has; None for an index without."""
        shard = self._shards[0]
        return int(shard.nlist) if isinstance(shard, faiss.IndexIVF) else None

    def _slices(self) -> list[slice]:
        return [slice(int(start), int(stop)) for start, stop in zip(self._starts, self._starts[1:], strict=False)]

    def search(self, queries: Vectors, k: int, *, allowed: NDArray[np.bool_] | None = None) -> Neighbours:
        """Return the k nearest of (n, dimension) queries, among `allowed` rows where a (size,) mask is given, else all.

        There are fewer than k columns where fewer rows exist, and -1 in `rows` where fewer were found.
        """
        use_threads(self._threads)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        found = [
            self._search_shard(number, shard, queries, k, allowed)
            for number, shard in enumerate(self._shards)
            if shard.ntotal
        ]
        return merge(found, min(k, self.size))

    def vector(self, row: int) -> Vectors:
        """Return the (dimension,) vector of one row, as the index holds it."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        vector: Vectors = self._shards[number].reconstruct(int(row - self._starts[number]))
        return vector

    def warm_up(self) -> None:
        """Touch every page, so that the first query after a swap does not wait for the disk."""
        self.search(np.zeros((1, self.dimension), np.float32), 1, allowed=None)
        for shard in self._shards:
            if isinstance(shard, faiss.IndexIVF):
                shard.make_direct_map()  # reads every list, and lets `vector` find rows

    def _search_shard(
        self, number: int, shard: faiss.Index, queries: Vectors, k: int, allowed: NDArray[np.bool_] | None
    ) -> Neighbours:
        mask = None if allowed is None else allowed[self._starts[number] : self._starts[number + 1]]
        bitmap = self._alive[number] if mask is None else _bitmap(mask)
        selector = None if bitmap is None else faiss.IDSelectorBitmap(bitmap)
        scores, rows = shard.search(queries, min(k, shard.ntotal), params=self._parameters(shard, selector, mask))
        return Neighbours(scores, np.where(rows < 0, -1, rows + self._starts[number]))

    def _parameters(
        self, shard: faiss.Index, selector: faiss.IDSelector | None, mask: NDArray[np.bool_] | None
    ) -> faiss.SearchParameters:
        if not isinstance(shard, faiss.IndexIVF):
            return faiss.SearchParameters(sel=selector)
        return faiss.SearchParametersIVF(sel=selector, nprobe=_probes(self.nprobe or 1, shard.nlist, mask))


def merge(parts: Sequence[Neighbours], k: int) -> Neighbours:
    """Return the k best of several answers to the same queries; equal scores in the order of rows."""
    scores = np.concatenate([part.scores for part in parts], axis=1)
    rows = np.concatenate([part.rows for part in parts], axis=1)
    scores = np.where(rows < 0, -np.inf, scores)
    best = np.lexsort((rows, -scores), axis=1)[:, :k]
    return Neighbours(np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1))


def _probes(nprobe: int, lists: int, mask: NDArray[np.bool_] | None) -> int:
    """Return how many lists to visit: the fewer rows match, the more lists it takes to find k of them."""
    if mask is None:
        return nprobe
    share = float(mask.mean())
    if share < EXACT_BELOW:
        return lists
    return min(lists, int(np.ceil(nprobe / share)))


def _bitmap(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.packbits(mask, bitorder="little")


def _open_shard(file: Path, count: int, dimension: int) -> faiss.Index:
    # nothing in a file can be larger than the file: a forged length must not allocate memory
    faiss.set_deserialization_vector_byte_limit(max(file.stat().st_size, 2**20))
    try:
        index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise CorruptError(f"an index shard cannot be read: {str(error)[:300]}") from error
    if index.d != dimension or index.ntotal != count or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise CorruptError(
            f"an index shard holds {index.ntotal} vectors of {index.d} dimensions (metric {index.metric_type}), "
            f"the manifest promises {count} of {dimension} by inner product"
        )
    return index
