"""What one worker does for one shard: train, build, evaluate. Arguments and results are small, the rest is stored."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data import blobs, tombstones
from data.blobs import Blob
from data.cache import BlobCache
from data.catalogues import read_catalogue_range
from data.embeddings import Embeddings, hash_array
from data.errors import AlreadyExistsError, NotFoundError
from data.manifest import EncoderSection, IndexSection, ShardSection
from data.stores import ObjectStore, open_store
from tasks.indexing import measuring
from tasks.indexing.building import (
    ExactAnswers,
    build_index,
    shard_range,
    vector_batches,
    vectors_of,
    write_shard,
)
from tasks.indexing.candidates import KINDS
from tasks.indexing.evaluating import EXACT_DEPTH, RECALL_AT, Examination, seconds_per_query
from tasks.indexing.neighbours import Neighbours
from tasks.indexing.operating_points import OperatingPoint, OperatingPoints
from tasks.indexing.parameters import SearchParameters
from tasks.indexing.planning import Plan
from tasks.indexing.projection import Projection, Vectors, learn, normalise
from tasks.indexing.searching import ShardedIndex
from tasks.indexing.training import PROJECTED_AT_A_TIME, projected, sample_size, train

OPERATING_POINTS = "operating-points/"
QUERIES = 1000  # the recall of so many is known to about 0.003
FLAT_QUERIES = 200  # whose recall is no question
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
    """How the whole index does.

    Attributes:
        recall: recall@10 against exact search, of vectors other than the query's own.
        seconds: median of one query, alone.
        parameters: the least effort that reaches the recall.
        imbalance: how unevenly rows lie in inverted lists, None where there are none.
    """

    recall: float
    seconds: float
    parameters: SearchParameters
    imbalance: float | None = None


def operating_points(
    store: str,
    catalogue: str,
    products: int,
    encoder: EncoderSection,
    outputs: int | None,
    target: float,
    *,
    threads: int,
) -> Sequence[OperatingPoint]:
    """Return what each kind of index reaches on a sample of the catalogue's vectors.

    What was measured is stored, and taken from there the next time: a run that was killed chooses again as it did.

    Args:
        outputs: dimensions that the vectors are projected to; None where they are indexed as they are.
    """
    opened = open_store(store)
    key = _points_key(catalogue, encoder, outputs, target)
    with suppress(NotFoundError):
        return OperatingPoints.model_validate_json(opened.read(key)).points
    found = _measured_points(opened, catalogue, products, encoder, outputs, target, threads)
    with suppress(AlreadyExistsError):
        opened.create(key, found.model_dump_json(indent=2).encode())
    return OperatingPoints.model_validate_json(opened.read(key)).points  # whoever was first decides


def _points_key(catalogue: str, encoder: EncoderSection, outputs: int | None, target: float) -> str:
    how = (measuring.SAMPLE, measuring.LOOKED_AT, KINDS, faiss.__version__)
    what = json.dumps([catalogue, encoder.fingerprint, outputs, target, how])
    return f"{OPERATING_POINTS}{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"


def _measured_points(
    store: ObjectStore,
    catalogue: str,
    products: int,
    encoder: EncoderSection,
    outputs: int | None,
    target: float,
    threads: int,
) -> OperatingPoints:
    sample = np.concatenate(list(_in_parts(store, catalogue, products, encoder.fingerprint, measuring.SAMPLE)))
    queries = _last_vectors(store, catalogue, products, encoder.fingerprint, measuring.QUERIES)
    projection = learn(sample.astype(np.float32), outputs) if outputs else None
    parts = _in_parts(store, catalogue, products, encoder.fingerprint, measuring.LOOKED_AT)
    return measuring.measure(
        projected(sample, projection),
        projected(queries, projection),
        (projected(part, projection) for part in parts),
        products,
        target,
        threads=threads,
    )


def train_index(source: Source, *, threads: int) -> Trained:
    """Learn from a sample of the catalogue what all shards will share, and store it."""
    store, plan = open_store(source.store), source.plan
    sample = _in_parts(store, source.catalogue, plan.products, source.encoder.fingerprint, sample_size(plan))
    projection, trained = train(sample, plan, threads=threads)
    return Trained(
        blobs.put_bytes(store, projection.to_bytes()) if projection else None,
        blobs.put_bytes(store, trained) if trained else None,
    )


def sample_queries(source: Source, trained: Trained) -> Vectors:
    """Return the index's last vectors to evaluate with: from the other end of the hashes than training's."""
    store, plan = open_store(source.store), source.plan
    count = FLAT_QUERIES if plan.key == "Flat" else QUERIES
    vectors = _last_vectors(store, source.catalogue, plan.products, source.encoder.fingerprint, count)
    return _projected(store, trained.projection, vectors.astype(np.float32), plan.dimension)


def build_shard(source: Source, shard: int, queries: Vectors, trained: Trained, *, threads: int) -> Shard | None:
    """Build and store one shard; None where it has no products. Raises `CorruptError` for damaged trained parts."""
    store, plan = open_store(source.store), source.plan
    start, stop = shard_range(shard, plan.shards)
    products = read_catalogue_range(store, source.catalogue, start, stop)
    if not products.num_rows:
        return None
    answers = ExactAnswers(queries, EXACT_DEPTH + 1)
    index = build_index(
        vector_batches(products, Embeddings(store, source.encoder.fingerprint), start, stop),
        products.num_rows,
        plan,
        _projection(store, trained.projection, source.encoder.dimension, plan.dimension),
        blobs.read(store, trained.index) if trained.index else None,
        answers,
        threads=threads,
    )
    return Shard(_store_shard(store, index, products), answers.neighbours)


def evaluate_index(
    store: str,
    shards: Sequence[ShardSection],
    dimension: int,
    queries: Vectors,
    exact: Neighbours,
    target: float,
    *,
    threads: int,
) -> Measured:
    """Search the stored shards with the code that serves them, tuned to a target recall; the time is of one thread.

    Args:
        queries: (n, dimension), the vectors of the last n rows.
        exact: their EXACT_DEPTH + 1 best, themselves among them.
    """
    with tempfile.TemporaryDirectory(prefix="lookalike-evaluate-") as folder:
        cache, opened = BlobCache(Path(folder)), open_store(store)
        files = [cache.get(opened, shard.index) for shard in shards]
        index = ShardedIndex.open(files, [shard.count for shard in shards], dimension, nprobe=None, threads=threads)
        own = np.arange(index.size - len(queries), index.size)
        reached = Examination(queries, exact, own).tune(index, target)
        index.threads = 1
        return Measured(reached, seconds_per_query(index, queries, RECALL_AT), index.parameters, index.imbalance)


def build_delta(store: str, encoder: EncoderSection, index: IndexSection, products: pa.Table) -> ShardSection:
    """Build and store a shard of some products, to be searched beside those of a full build: exact, as it is small."""
    opened = open_store(store)
    ordered = products.sort_by([("image_hash", "ascending"), ("id", "ascending")]).combine_chunks()
    vectors = Embeddings(opened, encoder.fingerprint).lookup(hash_array(ordered["image_hash"]))
    flat = faiss.IndexFlatIP(index.dimension)
    flat.add(_projected(opened, index.projection, vectors.astype(np.float32), index.dimension))
    return _store_shard(opened, flat, ordered).model_copy(update={"delta": True})


def measure_refresh(store: str, shards: Sequence[ShardSection], index: IndexSection) -> Measured:
    """Return how a refreshed snapshot does on queries of its delta, beside an exact search."""
    opened = open_store(store)
    with tempfile.TemporaryDirectory(prefix="lookalike-refresh-") as folder:
        cache = BlobCache(Path(folder))
        searched = ShardedIndex.open(
            [cache.get(opened, shard.index) for shard in shards],
            [shard.count for shard in shards],
            index.dimension,
            nprobe=index.nprobe,
            ef_search=index.ef_search,
            k_factor=index.k_factor,
            alive=np.concatenate([tombstones.read_alive_rows(opened, shard) for shard in shards]),
        )
        own = np.arange(searched.size - shards[-1].count, searched.size)[:DELTA_QUERIES]
        queries = np.stack([searched.vector(row) for row in own])
        reached = Examination(queries, searched.exact(queries, EXACT_DEPTH + 1), own).recall(searched)
        seconds = seconds_per_query(searched, queries, RECALL_AT)
        return Measured(reached, seconds, searched.parameters, searched.imbalance)


def _in_parts(
    store: ObjectStore, catalogue: str, products: int, fingerprint: str, count: int
) -> Iterator[NDArray[np.float16]]:
    """Yield the encoder vectors of `count` products, or of all, some at a time.

    Image hashes are uniform, so the first of them are an unbiased sample. Where many products show one picture, whole
    ranges of hashes have none.
    """
    embeddings = Embeddings(store, fingerprint)
    edges = np.linspace(0, 2**32, 1 - (-products // PROJECTED_AT_A_TIME), dtype=np.int64).tolist()
    for start, stop in pairwise(edges):
        some = read_catalogue_range(store, catalogue, start, stop)
        for vectors in vector_batches(some.slice(0, count), embeddings, start, stop):
            count -= len(vectors)
            yield vectors
        if not count:
            return


def _last_vectors(
    store: ObjectStore, catalogue: str, products: int, fingerprint: str, count: int
) -> NDArray[np.float16]:
    """Return the encoder vectors of the last rows of all, up to `count` of them."""
    share = 4 * count / products  # hashes are uniform: enough, and then some
    while True:
        start = int(2**32 * (1 - min(1.0, share)))
        last = read_catalogue_range(store, catalogue, start)
        if last.num_rows >= min(count, products) or not start:
            break
        share *= 4
    return vectors_of(last, Embeddings(store, fingerprint), start, 2**32)[-count:]


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
