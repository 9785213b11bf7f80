"""Building a shard: its index, its products, and its part of the exact answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.embeddings import Embeddings, hash_array
from data.errors import CorruptError
from tasks.indexing.planning import Plan
from tasks.indexing.projection import Projection, normalise
from tasks.indexing.threads import use_threads
from tasks.indexing.training import new_index

ADD_BATCH = 65_536  # vectors at a time, so that a large shard needs little beside itself

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
    if len(known) == 0 or not np.array_equal(known[places], wanted):
        raise CorruptError("the store lost vectors that were embedded before: run again to embed them")
    return vectors[places]


def build_index(
    vectors: NDArray[np.float16], plan: Plan, projection: Projection | None, trained: bytes | None, *, threads: int
) -> tuple[faiss.Index, Vectors]:
    """Return the index over (n, d) encoder vectors under ids 0 to n - 1, and the (n, plan.dimension) vectors in it."""
    use_threads(threads)
    index = faiss.deserialize_index(np.frombuffer(trained, np.uint8)) if trained else new_index(plan)
    indexed = np.empty((len(vectors), plan.dimension), np.float32)
    for start in range(0, len(vectors), ADD_BATCH):
        batch = vectors[start : start + ADD_BATCH].astype(np.float32)
        rows = np.arange(start, start + len(batch), dtype=np.int64)
        indexed[rows] = projection(batch) if projection else normalise(batch)
        if trained:  # explicit ids: the order inside inverted lists says nothing about rows
            index.add_with_ids(indexed[rows], rows)
        else:
            index.add(indexed[rows])
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
