"""What one worker does for one shard: train, build, evaluate. Arguments and results are small, the rest is stored."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa

from data import blobs, tombstones
from data.blobs import Blob
from data.cache import BlobCache
from data.catalogues import read_catalogue_range
from data.embeddings import Embeddings, hash_array
from data.manifest import EncoderSection, IndexSection, ShardSection
from data.stores import ObjectStore, open_store
from tasks.indexing.building import (
    Neighbours,
    build_index,
    exact_neighbours,
    shard_range,
    vector_batches,
    vectors_of,
    write_shard,
)
from tasks.indexing.evaluating import EXACT_DEPTH, RECALL_AT, recall, seconds_per_query, tune
from tasks.indexing.planning import Plan
from tasks.indexing.projection import Projection, Vectors, normalise
from tasks.indexing.searching import ShardedIndex
from tasks.indexing.training import sample_range, train

QUERIES = 200
DELTA_QUERIES = 50


@dataclass(frozen=True, slots=True)
class Source:
    """What shards are built from: a normalised catalogue and vectors in a store, by a plan."""

    store: str
    catalogue: str
    encoder: EncoderSection
    plan: Plan


@dataclass(frozen=True, slots=True)
class Trained:
    """What all shards share, in the store: the projection and the empty trained index, where there are such."""

    projection: Blob | None
    index: Blob | None


@dataclass(frozen=True, slots=True)
class Shard:
    """A built shard, and its part of the exact answers to the sample queries; `rows` count within the shard."""

    section: ShardSection
    exact: Neighbours


@dataclass(frozen=True, slots=True)
class Measured:
    """How the whole index does: recall@10 against exact search, seconds a query, and the tuned `nprobe`."""

    recall: float
    seconds: float
    nprobe: int | None


def train_index(source: Source, *, threads: int) -> Trained:
    """Learn from a sample of the catalogue what all shards will share, and store it."""
    store, plan = open_store(source.store), source.plan
    stop = sample_range(plan.products)
    products = read_catalogue_range(store, source.catalogue, 0, stop)
    sample = vectors_of(products, Embeddings(store, source.encoder.fingerprint), 0, stop)
    projection, trained = train(sample, plan, threads=threads)
    return Trained(
        blobs.put_bytes(store, projection.to_bytes()) if projection else None,
        blobs.put_bytes(store, trained) if trained else None,
    )


def sample_queries(source: Source, trained: Trained) -> Vectors:
    """Return up to QUERIES indexed vectors to evaluate with: from the other end of the hashes than training's."""
    store = open_store(source.store)
    start = int(2**32 * (1 - min(1.0, 4 * QUERIES / source.plan.products)))
    products = read_catalogue_range(store, source.catalogue, start)
    vectors = vectors_of(products, Embeddings(store, source.encoder.fingerprint), start, 2**32)[-QUERIES:]
    return _projected(store, trained.projection, vectors.astype(np.float32), source.plan.dimension)


def build_shard(source: Source, shard: int, queries: Vectors, trained: Trained, *, threads: int) -> Shard | None:
    """Build and store one shard; None where it has no products."""
    store, plan = open_store(source.store), source.plan
    start, stop = shard_range(shard, plan.shards)
    products = read_catalogue_range(store, source.catalogue, start, stop)
    if not products.num_rows:
        return None
    index, indexed = build_index(
        vector_batches(products, Embeddings(store, source.encoder.fingerprint), start, stop),
        products.num_rows,
        plan,
        _projection(store, trained.projection, source.encoder.dimension, plan.dimension),
        blobs.read(store, trained.index) if trained.index else None,
        threads=threads,
    )
    exact = exact_neighbours(queries, indexed, EXACT_DEPTH, threads=threads)
    return Shard(_store_shard(store, index, products), exact)


def evaluate_index(
    store: str, shards: Sequence[ShardSection], dimension: int, queries: Vectors, exact: Neighbours, target: float
) -> Measured:
    """Search the stored shards with the code that serves them, tuned to a target recall."""
    with tempfile.TemporaryDirectory(prefix="lookalike-evaluate-") as folder:
        cache, opened = BlobCache(Path(folder)), open_store(store)
        files = [cache.get(opened, shard.index) for shard in shards]
        index = ShardedIndex.open(files, [shard.count for shard in shards], dimension, nprobe=None)
        reached = tune(index, queries, exact, target)
        return Measured(reached, seconds_per_query(index, queries, RECALL_AT), index.nprobe)


def build_delta(store: str, encoder: EncoderSection, index: IndexSection, products: pa.Table) -> ShardSection:
    """Build and store a shard of some products, to be searched beside those of a full build: exact, as it is small."""
    opened = open_store(store)
    ordered = products.sort_by([("image_hash", "ascending"), ("id", "ascending")]).combine_chunks()
    vectors = Embeddings(opened, encoder.fingerprint).lookup(hash_array(ordered["image_hash"]))
    flat = faiss.IndexFlatIP(index.dimension)
    flat.add(_projected(opened, index.projection, vectors.astype(np.float32), index.dimension))
    return _store_shard(opened, flat, ordered).model_copy(update={"delta": True})


def measure_refresh(store: str, shards: Sequence[ShardSection], index: IndexSection) -> Measured:
    """Return how a refreshed snapshot does on queries of its delta, beside the same search through all lists."""
    opened = open_store(store)
    with tempfile.TemporaryDirectory(prefix="lookalike-refresh-") as folder:
        cache = BlobCache(Path(folder))
        searched = ShardedIndex.open(
            [cache.get(opened, shard.index) for shard in shards],
            [shard.count for shard in shards],
            index.dimension,
            nprobe=index.nprobe,
            alive=np.concatenate([tombstones.read_alive_rows(opened, shard) for shard in shards]),
        )
        rows = range(searched.size - shards[-1].count, searched.size)[:DELTA_QUERIES]
        queries = np.stack([searched.vector(row) for row in rows])
        found = searched.search(queries, RECALL_AT)
        seconds = seconds_per_query(searched, queries, RECALL_AT)
        searched.nprobe = searched.lists
        exact = searched.search(queries, EXACT_DEPTH)
        return Measured(recall(found, exact), seconds, index.nprobe)


def _store_shard(store: ObjectStore, index: faiss.Index, products: pa.Table) -> ShardSection:
    with tempfile.TemporaryDirectory(prefix="lookalike-shard-") as folder:
        index_file, products_file = write_shard(index, products, Path(folder))
        return ShardSection(
            index=blobs.put_file(store, index_file),
            products=blobs.put_file(store, products_file),
            count=products.num_rows,
        )


def _projected(store: ObjectStore, blob: Blob | None, vectors: Vectors, dimension: int) -> Vectors:
    projection = _projection(store, blob, vectors.shape[1], dimension)
    return projection(vectors) if projection else normalise(vectors)


def _projection(store: ObjectStore, blob: Blob | None, inputs: int, outputs: int) -> Projection | None:
    return Projection.from_bytes(blobs.read(store, blob), inputs=inputs, outputs=outputs) if blob else None
