"""Build a shard: its index, its products, and its part of the exact answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lookalike.data.embeddings import LOST, Embeddings, hash_array, positions
from lookalike.data.errors import CorruptError
from lookalike.tasks.build.planner import Plan
from lookalike.tasks.build.train import create_index
from lookalike.tasks.search.faiss_io import read_bytes, use_threads
from lookalike.tasks.search.neighbours import Neighbours, merge
from lookalike.tasks.search.projection import Projection, normalise

ADD_BATCH = 16_384  # vectors at a time, so that building a large shard takes little more memory than the shard

Vectors = NDArray[np.float32]


class ExactAnswers:
    """The exact k nearest of (n, d) queries, by inner product, among vectors that are added in batches."""

    def __init__(self, queries: Vectors, k: int) -> None:
        self._queries = queries
        self._k = k
        self.neighbours = Neighbours.empty(len(queries))

    def add(self, vectors: Vectors, rows: NDArray[np.int64]) -> None:
        """Compare the queries with (m, d) more vectors, which have the (m,) row numbers `rows`."""
        k_here = min(self._k, len(vectors))
        if k_here:
            scores, places = faiss.knn(self._queries, vectors, k_here, metric=faiss.METRIC_INNER_PRODUCT)
            self.neighbours = merge([self.neighbours, Neighbours(scores, rows[places])], self._k)


def shard_range(shard: int, shards: int) -> tuple[int, int]:
    """Return the range of hash positions of one shard: start inclusive, stop exclusive."""
    return 2**32 * shard // shards, 2**32 * (shard + 1) // shards


def read_vectors(products: pa.Table, embeddings: Embeddings, start: int, stop: int) -> NDArray[np.float16]:
    """Return the (n, d) encoder vectors of products, whose hashes lie between `start` and `stop`.

    Raises `CorruptError` where the store lost one.
    """
    wanted = hash_array(products["image_hash"])
    known, vectors = embeddings.read(start, stop, wanted)
    return vectors[_locate(wanted, known)]


def _locate(wanted: NDArray[np.bytes_], known: NDArray[np.bytes_]) -> NDArray[np.int64]:
    places = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
    if len(wanted) and (len(known) == 0 or not np.array_equal(known[places], wanted)):
        raise CorruptError(LOST)
    return places


def read_vector_batches(
    products: pa.Table, embeddings: Embeddings, start: int, stop: int
) -> Iterator[NDArray[np.float16]]:
    """Yield the encoder vectors of products that are sorted by hash, at most ADD_BATCH at a time.

    Raises `CorruptError` where the store lost one.
    """
    parts = max(1, -(-products.num_rows // ADD_BATCH))
    edges = [start + (stop - start) * part // parts for part in range(parts + 1)]
    hashes = hash_array(products["image_hash"]) if products.num_rows else np.empty(0, "V32")
    rows = np.searchsorted(positions(hashes), edges)
    read = embeddings.read_ranges(edges, hashes)
    for (first, last), (known, vectors) in zip(pairwise(rows.tolist()), read, strict=True):
        places = _locate(hashes[first:last], known)
        for start_row in range(0, len(places), ADD_BATCH):  # many products may show one picture
            yield vectors[places[start_row : start_row + ADD_BATCH]]


def build_index(
    batches: Iterable[NDArray[np.float16]],
    count: int,
    plan: Plan,
    projection: Projection | None,
    trained: bytes | None,
    answers: ExactAnswers | None = None,
    held_out: NDArray[np.bool_] | None = None,
    *,
    threads: int,
) -> faiss.Index:
    """Return the index over `count` encoder vectors under ids 0 to count - 1.

    Beside the index, one batch at a time is in memory. The same batches give the same bytes: one thread builds a graph,
    as several threads would link it differently each time.

    Args:
        batches: the encoder's vectors, in the order of the ids.
        trained: the serialised empty trained index; None for a type that needs no training.
        answers: collects the exact neighbours of queries while vectors pass.
        held_out: (count,) marks of rows that are left out of `answers`; None where none is.
    """
    index = read_bytes(trained) if trained else create_index(plan)
    use_threads(1 if isinstance(index, faiss.IndexHNSW) else threads)
    start = 0
    for vectors in batches:
        batch = vectors.astype(np.float32)
        ready = projection(batch) if projection else normalise(batch)
        add_vectors(index, ready, start, count)
        if answers:
            rows = np.arange(start, start + len(batch))
            counted = slice(None) if held_out is None else ~held_out[rows]
            answers.add(ready[counted], rows[counted])
        start += len(batch)
    return index


def write_shard(index: faiss.Index, products: pa.Table, folder: Path) -> tuple[Path, Path]:
    """Write the index and the products of one shard into `folder`; return the paths of both files."""
    index_file, products_file = folder / "index.faiss", folder / "products.parquet"
    faiss.write_index(index, str(index_file))
    pq.write_table(products, products_file, compression="zstd")
    return index_file, products_file


def add_vectors(index: faiss.Index, vectors: Vectors, start: int, count: int) -> None:
    """Add (n, d) vectors as rows from `start` on, to an index that will have `count` rows."""
    if isinstance(index, faiss.IndexRefine):
        add_vectors(faiss.downcast_index(index.base_index), vectors, start, count)
        add_vectors(faiss.downcast_index(index.refine_index), vectors, start, count)
        index.ntotal = start + len(vectors)
    elif isinstance(index, faiss.IndexIVF):  # explicit ids: the order inside inverted lists says nothing about rows
        index.add_with_ids(vectors, np.arange(start, start + len(vectors), dtype=np.int64))
    else:
        if not start:
            _reserve(faiss.downcast_index(index.storage) if isinstance(index, faiss.IndexHNSW) else index, count)
        index.add(vectors)


def _reserve(index: faiss.IndexFlatCodes, count: int) -> None:
    """Reserve the memory at once: an array that doubles as it grows needs up to three times as much."""
    index.codes.resize(count * index.code_size)
    index.codes.resize(0)
