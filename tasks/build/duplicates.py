"""Near-duplicates: groups of pictures that look the same to a person, found with the new index.

The index is searched for the nearest neighbours of each picture. Two pictures whose score reaches a threshold are in
one group: single linkage, after Sneath, "The application of computers to taxonomy" (1957), on the graph of nearest
neighbours. Groups are its connected components, by hooking and pointer jumping (Shiloach and Vishkin, "An O(log n)
parallel connectivity algorithm", 1982).
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lookalike.data.embeddings import HASH, LOST, Embeddings, differ, hash_array, positions
from lookalike.data.errors import CorruptError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob, BlobCache
from lookalike.data.snapshots.duplicates import read_groups, to_parquet
from lookalike.data.snapshots.manifest import (
    DISTORTIONS,
    WHITENING,
    DuplicatesSection,
    Manifest,
    ShardSection,
    SpaceSection,
)
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.projection import Projection, Vectors, normalise

THRESHOLDS = {
    WHITENING: {32: 0.96, 64: 0.94, 128: 0.90, 256: 0.80},
    DISTORTIONS: {32: 0.97, 64: 0.95, 128: 0.92, 256: 0.87},
}
"""For each kind of projection and dimension of the index, the score from which nine of ten pairs are copies.

Measured by `tests/benchmarks/duplicates.py`.
"""
SMALL_THRESHOLD = 0.80
"""The same for a catalogue of which the projection keeps every difference: copies are further away there."""
NEIGHBOURS = 10  # of each picture: a larger group is still found, as its members lead from one to the next
MOST_CANDIDATES = 10  # to rank again for each neighbour: near-duplicates are the nearest by short codes, too
MOST_LISTS = 16  # to visit: near-duplicates lie in the same list, or in one beside it
PICTURES_AT_ONCE = 8192
SHOWN_GROUPS = 20
SHOWN_PRODUCTS = 6

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DuplicateGroups:
    """What was found.

    Attributes:
        section: for the manifest; None where no picture has a near-duplicate.
        exact: how many products share their picture with another product.
        examples: for each of the largest groups, ids of products that show its pictures.
    """

    section: DuplicatesSection | None
    exact: int
    examples: list[list[str]]

    def figures(self) -> dict[str, float]:
        """Return the counts under their names in a snapshot's figures."""
        section = self.section
        return {
            "exact_duplicates": float(self.exact),
            "near_duplicate_groups": float(section.count if section else 0),
            "near_duplicates": float(section.products if section else 0),
        }


def choose_threshold(space: SpaceSection) -> float:
    """Return the score from which two pictures are near-duplicates, in a space with a projection."""
    kind = space.projection.kind if space.projection else WHITENING
    if kind != WHITENING and space.index.trained_on <= space.index.dimension:
        return SMALL_THRESHOLD
    thresholds = THRESHOLDS.get(kind, THRESHOLDS[DISTORTIONS])
    return next((score for known, score in thresholds.items() if space.index.dimension <= known), thresholds[256])


@dataclass(frozen=True, slots=True)
class InheritedPairs:
    """The near-duplicates of an earlier snapshot that are still valid in a new one.

    Attributes:
        pairs: rows that are still near-duplicates, (n, 2) as a `.npy` of uint32.
        asked: rows whose neighbours must be searched, (m,) as a `.npy` of int64; None where there are none.
    """

    pairs: Blob
    asked: Blob | None


def is_inheritable(parent: Manifest | None, manifest: Manifest, threshold: float) -> bool:
    """Tell whether a parent's near-duplicates hold: encoder, projection and threshold are the same."""
    if parent is None or parent.duplicates is None or parent.duplicates.threshold != threshold:
        return False
    same_encoder = parent.encoder.fingerprint == manifest.encoder.fingerprint
    return same_encoder and parent.projection == manifest.projection


def inherit_pairs(store: str, manifest: Manifest, parent: Manifest) -> InheritedPairs:
    """Take over the groups that still hold. Neighbours are searched only for the other pictures.

    These are new pictures, and the rest of any group that lost a picture: the lost one may have linked the others.
    """
    assert parent.duplicates is not None  # noqa: S101  `is_inheritable` says so
    opened = open_store(store)
    with tempfile.TemporaryDirectory(prefix="lookalike-duplicates-") as folder:
        cache = BlobCache(Path(folder))
        hashes = pa.concat_arrays([_read_hashes(opened, cache, shard) for shard in manifest.shards])
        looked_at = [_read_hashes(opened, cache, shard) for shard in parent.shards if not shard.delta]
        table = read_groups(cache.get(opened, parent.duplicates.groups))
    first = np.flatnonzero(differ(hash_array(hashes)))
    pictures = hashes.take(pa.array(first))
    is_new = np.asarray(pc.invert(pc.is_in(pictures, value_set=pa.concat_arrays(looked_at))))
    places = pc.index_in(table["image_hash"].combine_chunks(), value_set=pictures)
    there, groups = np.asarray(places.is_valid()), np.asarray(table["group"])
    holds = ~np.isin(groups, groups[~there])
    rows = first[np.asarray(places.fill_null(0))]
    asked = np.union1d(first[is_new], rows[there & ~holds])
    return InheritedPairs(
        pairs=blobs.put_bytes(opened, _to_npy(_chain(rows[holds], groups[holds]).astype(np.uint32))),
        asked=blobs.put_bytes(opened, _to_npy(asked)) if len(asked) else None,
    )


def find_near_pairs(
    store: str,
    manifest: Manifest,
    numbers: Sequence[int],
    threshold: float,
    *,
    threads: int,
    asked: Blob | None = None,
) -> Blob:
    """Find pairs of rows that show near-duplicates and store them, (n, 2) as a `.npy` of uint32.

    The first row of each pair lies in a shard of `numbers`. Of products that show one picture only the first takes
    part. Where `asked` is given, neighbours are searched for its rows only. Rows count over all shards, and all shards
    are
    fetched: so one call should have all the numbers of a worker.
    """
    opened = open_store(store)
    with tempfile.TemporaryDirectory(prefix="lookalike-duplicates-") as folder:
        cache = BlobCache(Path(folder))
        hashes = [_read_hashes(opened, cache, shard) for shard in manifest.shards]
        first = np.concatenate([differ(hash_array(one)) for one in hashes])
        index = _open_index(opened, cache, manifest, threads)
        starts = np.cumsum([0, *(len(one) for one in hashes)])
        allowed = None if first.all() else first
        looking = np.flatnonzero(first) if asked is None else _from_npy(opened, asked)
        found = [np.empty((0, 2), np.int64)]
        for number in numbers:
            start, stop = int(starts[number]), int(starts[number + 1])
            rows = looking[np.searchsorted(looking, start) : np.searchsorted(looking, stop)]
            for some, directions in _read_directions(opened, manifest, hashes[number], rows, start):
                found.append(_find_near(index, directions, some, allowed, threshold))
        return blobs.put_bytes(opened, _to_npy(np.concatenate(found).astype(np.uint32)))


def group_duplicates(store: str, manifest: Manifest, pairs: Sequence[Blob], threshold: float) -> DuplicateGroups:
    """Join pairs into groups and store the groups."""
    opened = open_store(store)
    with tempfile.TemporaryDirectory(prefix="lookalike-duplicates-") as folder:
        cache = BlobCache(Path(folder))
        hashes = pa.concat_arrays([_read_hashes(opened, cache, shard) for shard in manifest.shards])
        first = np.flatnonzero(differ(hash_array(hashes)))
        shows = np.diff([*first, len(hashes)])  # products that show one picture lie side by side
        exact = int(shows[shows > 1].sum())
        joined = np.concatenate([_from_npy(opened, one) for one in pairs])
        if not len(joined):
            return DuplicateGroups(None, exact, [])
        rows, groups = _number_by_size(*find_components(joined.astype(np.int64)))
        sizes = np.bincount(groups)
        section = DuplicatesSection(
            groups=blobs.put_bytes(opened, to_parquet(hashes.take(pa.array(rows)).to_pylist(), groups)),
            threshold=threshold,
            count=len(sizes),
            largest=int(sizes.max()),
            pictures=len(rows),
            products=int(shows[np.searchsorted(first, rows)].sum()),
        )
        shown = [rows[groups == group][:SHOWN_PRODUCTS] for group in range(min(SHOWN_GROUPS, len(sizes)))]
        ids = pa.concat_arrays([_read_column(opened, cache, shard, "id") for shard in manifest.shards])
        return DuplicateGroups(section, exact, [ids.take(pa.array(one)).to_pylist() for one in shown])


def find_components(pairs: Rows) -> tuple[Rows, Rows]:
    """Return the (m,) rows in (n, 2) pairs, ascending, and for each row the first row of its component."""
    rows, ends = np.unique(pairs, return_inverse=True)
    left, right = ends.reshape(-1, 2).T
    leader = np.arange(len(rows))
    while True:
        least = np.minimum(leader[left], leader[right])
        moved = leader.copy()
        for side in (left, right):
            np.minimum.at(moved, leader[side], least)
            np.minimum.at(moved, side, least)
        moved = moved[moved]
        if np.array_equal(moved, leader):
            return rows, rows[leader]
        leader = moved


def _chain(rows: Rows, groups: NDArray[np.int32]) -> Rows:
    """Return pairs (n, 2) that link the (m,) rows of each group in a chain."""
    order = np.argsort(groups, kind="stable")
    rows, groups = rows[order], groups[order]
    same = groups[1:] == groups[:-1]
    return np.stack([rows[:-1][same], rows[1:][same]], axis=1)


def _number_by_size(rows: Rows, leaders: Rows) -> tuple[Rows, NDArray[np.int32]]:
    """Number the groups from the largest to the smallest; return rows and group numbers in that order."""
    _, group, sizes = np.unique(leaders, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), np.int32)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    numbers = rank[group]
    order = np.argsort(numbers, kind="stable")
    return rows[order], numbers[order]


def _find_near(
    index: ShardedIndex, directions: Vectors, rows: Rows, allowed: NDArray[np.bool_] | None, threshold: float
) -> Rows:
    found = index.search(directions, NEIGHBOURS + 1, allowed=allowed)
    near = (found.rows >= 0) & (found.scores >= threshold) & (found.rows != rows[:, None])
    owners = np.broadcast_to(rows[:, None], found.rows.shape)
    return np.stack([owners[near], found.rows[near]], axis=1)


def _read_directions(
    store: ObjectStore, manifest: Manifest, hashes: pa.Array, rows: Rows, start: int
) -> Iterator[tuple[Rows, Vectors]]:
    """Yield rows, some at a time, with their stored vectors (n, dimension) in the space of the index, not quantised."""
    embeddings = Embeddings(store, manifest.encoder.fingerprint)
    place = (
        Projection.from_bytes(
            blobs.read(store, manifest.projection),
            inputs=manifest.encoder.dimension,
            outputs=manifest.index.dimension,
        )
        if manifest.projection
        else normalise
    )
    if not len(rows):
        return
    wanted = hash_array(hashes.take(pa.array(rows - start)))
    places = positions(wanted)
    edges = sorted({0, *places[PICTURES_AT_ONCE::PICTURES_AT_ONCE].tolist(), 2**32})
    cuts = np.searchsorted(places, edges).tolist()
    for (first, last), (known, vectors) in zip(pairwise(cuts), embeddings.read_ranges(edges, wanted), strict=True):
        if len(known) != last - first:
            raise CorruptError(LOST)
        if last > first:
            yield rows[first:last], place(vectors.astype(np.float32))


def _open_index(store: ObjectStore, cache: BlobCache, manifest: Manifest, threads: int) -> ShardedIndex:
    nprobe, k_factor = manifest.index.nprobe, manifest.index.k_factor
    return ShardedIndex.open(
        [cache.get(store, shard.index) for shard in manifest.shards],
        [shard.count for shard in manifest.shards],
        manifest.index.dimension,
        nprobe=min(nprobe, MOST_LISTS) if nprobe else None,
        ef_search=manifest.index.ef_search,
        k_factor=min(k_factor, MOST_CANDIDATES) if k_factor else None,
        threads=threads,
    )


def _read_hashes(store: ObjectStore, cache: BlobCache, shard: ShardSection) -> pa.Array:
    return _read_column(store, cache, shard, "image_hash").cast(HASH)


def _read_column(store: ObjectStore, cache: BlobCache, shard: ShardSection, name: str) -> pa.Array:
    column = pq.read_table(cache.get(store, shard.products), columns=[name])[name].combine_chunks()
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _to_npy(numbers: NDArray[np.integer]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, numbers, allow_pickle=False)
    return buffer.getvalue()


def _from_npy(store: ObjectStore, blob: Blob) -> NDArray[Any]:
    numbers: NDArray[Any] = np.load(io.BytesIO(blobs.read(store, blob)), allow_pickle=False)
    return numbers
