"""Views: the further pictures of products, of which the nearest one counts.

An index has a row for the first picture of each product, in the order of the products, and behind these a row for each
further one. A search for pictures finds a product as often as its pictures are near. So it looks deeper until there
are enough different products: of the nearest pictures the first one of each product is its best.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.manifest import ShardSection, ViewsSection
from lookalike.tasks.search.neighbours import Neighbours

FIRST = 1
"""The number of a product's first picture."""
DEEPER = 4  # times as deep, where pictures of too few products were found

Rows = NDArray[np.int64]


class Views:
    """Which product, and which of its pictures, each of the (count,) rows behind those of all products shows.

    Safe to use from many threads at once.
    """

    def __init__(self, products: int, owners: Rows, numbers: Rows) -> None:
        """Take the rows (count,) of the products, and the numbers (count,) of their pictures, from 2 on."""
        self.count = len(owners)
        self._products = products
        self._owners = owners
        self._numbers = numbers
        self._order = np.lexsort((numbers, owners))
        self._edges = np.searchsorted(owners[self._order], np.arange(products + 1))
        self._share = 1 + self.count / max(1, products)  # pictures of a product

    @classmethod
    def open(cls, shards: Sequence[ShardSection], files: Mapping[Blob, Path]) -> Views | None:
        """Read the views of a snapshot's shards; None where each product has one picture. Raises `CorruptError`."""
        owners, numbers, start = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
        for shard in shards:
            if shard.views is not None:
                rows = read_views(files[shard.views.rows].read_bytes(), shard.views, shard.count)
                owners.append(rows[:, 0] + start)
                numbers.append(rows[:, 1])
            start += shard.count
        found = cls(start, np.concatenate(owners), np.concatenate(numbers))
        return found if found.count else None

    def expand(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the mask of all pictures, of a mask of the products."""
        return np.concatenate([mask, mask[self._owners]])

    def search(self, look: Callable[[int], Neighbours], k: int, pictures: int) -> Neighbours:
        """Return the k best products of each query, best first.

        Args:
            look: returns so many of the nearest pictures of each query, best first.
            pictures: how many may be found: looking deeper finds no more.
        """
        depth = int(self._share * k)
        while True:
            depth = min(max(depth, 1), max(pictures, 1))
            found, fewest = self._keep_best(look(depth), k)
            if depth >= pictures or fewest >= k:
                return found
            depth *= DEEPER

    def list_pictures(self, rows: Rows) -> tuple[NDArray[np.intp], Rows]:
        """Return the index's rows of all further pictures of (n,) products, and the place of its product for each."""
        first, last = self._edges[rows], self._edges[rows + 1]
        counts = last - first
        places = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return places, self._order[first[places] + within] + self._products

    def numbers_of(self, pictures: Rows) -> Rows:
        """Return which picture of its product each of the index's rows behind those of the products shows."""
        return self._numbers[pictures - self._products]

    def _keep_best(self, found: Neighbours, k: int) -> tuple[Neighbours, int]:
        """Return the first picture of each product as the product, and how many the query with the fewest has."""
        owners = self._find_owners(found.rows)
        scores = np.full((len(owners), k), -np.inf, np.float32)
        rows = np.full((len(owners), k), -1, np.int64)
        fewest = k
        for query, some in enumerate(owners):
            _, first = np.unique(some, return_index=True)
            first = np.sort(first[some[first] >= 0])[:k]
            rows[query, : len(first)] = some[first]
            scores[query, : len(first)] = found.scores[query, first]
            fewest = min(fewest, len(first))
        width = int((rows >= 0).sum(axis=1).max(initial=0))
        return Neighbours(scores[:, :width], rows[:, :width]), fewest

    def _find_owners(self, pictures: Rows) -> Rows:
        further = pictures >= self._products
        owners = pictures.copy()
        owners[further] = self._owners[pictures[further] - self._products]
        return owners


def read_views(data: bytes, section: ViewsSection, products: int) -> Rows:
    """Return for each row of an index of views its product in the shard and the number of the picture, (count, 2).

    Raises `CorruptError`.
    """
    try:
        rows = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise CorruptError(f"the views of a shard cannot be read: {error}") from error
    if rows.dtype != np.uint32 or rows.shape != (section.count, 2):
        raise CorruptError(f"the views of a shard are {rows.dtype}{rows.shape}, not uint32 ({section.count}, 2)")
    if rows[:, 0].max() >= products or rows[:, 1].min() <= FIRST:
        raise CorruptError(f"the views of a shard are not further pictures of its {products} products")
    return np.asarray(rows, np.int64)


def views_to_bytes(rows: NDArray[np.integer]) -> bytes:
    """Return products and numbers (count, 2) as they are stored."""
    buffer = io.BytesIO()
    np.save(buffer, rows.astype(np.uint32), allow_pickle=False)
    return buffer.getvalue()


def list_index_parts(shards: Sequence[ShardSection]) -> list[tuple[Blob, int]]:
    """Return the index files of the shards' pictures with the number of their rows, those of further pictures last."""
    first = [(shard.index, shard.count) for shard in shards]
    return first + [(shard.views.index, shard.views.count) for shard in shards if shard.views]
