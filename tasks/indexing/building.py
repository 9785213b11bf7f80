"""Building a shard: its index, its products, and its part of the exact answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.embeddings import LOST, Embeddings, hash_array, positions
from data.errors import CorruptError
from tasks.indexing.planning import Plan
from tasks.indexing.projection import Projection, normalise
from tasks.indexing.threads import use_threads
from tasks.indexing.training import new_index

ADD_BATCH = 16_384  # vectors at a time, so that a large shard needs little beside itself

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest of each of n queries: (n, k) scores, best first, and (n, k) rows, -1 where there are fewer."""

    scores: NDArray[np.float32]
    rows: NDArray[np.int64]


def shard_range(shard: int, shards: int) -> tuple[int, int]:
    """Return the range of hash positions of one shard: start inclusive, stop exclusive."""
    return 2**32 * shard // shards, 2**32 * (shard + 1) // shards


def vectors_of(products: pa.Table, embeddings: Embeddings, start: int, stop: int) -> NDArray[np.float16]:
    """Return the (n, d) encoder vectors of products whose hashes lie in a range. Raises `CorruptError` for a loss."""
    known, vectors = embeddings.read(start, stop)
    wanted = hash_array(products["image_hash"])
    places = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
    if len(wanted) and (len(known) == 0 or not np.array_equal(known[places], wanted)):
        raise CorruptError(LOST)
    return vectors[places]


def vector_batches(products: pa.Table, embeddings: Embeddings, start: int, stop: int) -> Iterator[NDArray[np.float16]]:
    """Yield the same a part of the range at a time; the products must be sorted by hash."""
    parts = max(1, -(-products.num_rows // ADD_BATCH))
    edges = [start + (stop - start) * part // parts for part in range(parts + 1)]
    places = positions(hash_array(products["image_hash"]))
    rows = np.searchsorted(places, edges)
    for part in range(parts):
        inside = products.slice(int(rows[part]), int(rows[part + 1] - rows[part]))
        if inside.num_rows:
            yield vectors_of(inside, embeddings, edges[part], edges[part + 1])


def build_index(
    batches: Iterable[NDArray[np.float16]],
    count: int,
    plan: Plan,
    projection: Projection | None,
    trained: bytes | None,
    *,
    threads: int,
) -> tuple[faiss.Index, Vectors]:
    """Return the index over `count` encoder vectors under ids 0 to count - 1, and the (count, plan.dimension) in it."""
    use_threads(threads)
    index = faiss.deserialize_index(np.frombuffer(trained, np.uint8)) if trained else new_index(plan)
    indexed = np.empty((count, plan.dimension), np.float32)
    start = 0
    for vectors in batches:
        batch = vectors.astype(np.float32)
        rows = np.arange(start, start + len(batch), dtype=np.int64)
        indexed[rows] = projection(batch) if projection else normalise(batch)
        if trained:  # explicit ids: the order inside inverted lists says nothing about rows
            index.add_with_ids(indexed[rows], rows)
        else:
            index.add(indexed[rows])
        start += len(batch)
    return index, indexed


def exact_neighbours(queries: Vectors, vectors: Vectors, k: int, *, threads: int) -> Neighbours:
    """Return the exact k nearest of (n, d) queries among (m, d) vectors, by inner product."""
    use_threads(threads)
    k_here = min(k, len(vectors))
    scores, rows = faiss.knn(queries, vectors, k_here, metric=faiss.METRIC_INNER_PRODUCT)
    return Neighbours(scores, rows)


def write_shard(index: faiss.Index, products: pa.Table, folder: Path) -> tuple[Path, Path]:
    """Write the index and the products of one shard into `folder`; return both files."""
    index_file, products_file = folder / "index.faiss", folder / "products.parquet"
    faiss.write_index(index, str(index_file))
    pq.write_table(products, products_file, compression="zstd")
    return index_file, products_file
