"""What one worker does with one partition: arguments and results are small, the work lies in the store."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from data import blobs
from data.blobs import Blob
from data.cache import BlobCache
from data.catalogues import read_catalogue_range
from data.embeddings import Embeddings
from data.errors import ImageRejectedError
from data.images import read_image
from data.manifest import EncoderSection, ShardSection
from data.stores import open_store
from tasks.embedding import EmbeddedBatch, ImageToEmbed, Reject, embed
from tasks.encoders.base import EncoderSpec
from tasks.encoders.onnx import OnnxEncoder
from tasks.indexing.building import (
    Neighbours,
    build_index,
    exact_neighbours,
    shard_range,
    vectors_of,
    write_shard,
)
from tasks.indexing.evaluating import EXACT_DEPTH, RECALL_AT, seconds_per_query, tune
from tasks.indexing.planning import Plan
from tasks.indexing.projection import Projection, Vectors, normalise
from tasks.indexing.searching import ShardedIndex
from tasks.indexing.training import sample_range, train

READ_THREADS = 8
QUERIES = 200


@dataclass(frozen=True, slots=True)
class Embedded:
    """What became of one partition: how many vectors were written, and which pictures have none."""

    vectors: int
    rejects: tuple[Reject, ...]


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


def hash_images(references: Sequence[str]) -> list[bytes | ImageRejectedError]:
    """Return each picture's sha256, or why it has none."""
    with ThreadPoolExecutor(READ_THREADS) as pool:
        return list(pool.map(_hash_image, references))


def embed_images(store: str, encoder: EncoderSection, images: Sequence[tuple[bytes, str]], *, threads: int) -> Embedded:
    """Embed (hash, reference) pairs and write their vectors to the store."""
    expected = {reference: image_hash for image_hash, reference in images}
    batches = list(
        embed(
            (ImageToEmbed(image_hash.hex(), reference) for image_hash, reference in images),
            worker_encoder(store, encoder, threads),
            read=lambda reference: _read_unchanged(reference, expected[reference]),
        )
    )
    return _write(Embeddings(open_store(store), encoder.fingerprint), batches)


def train_index(store: str, catalogue: str, fingerprint: str, plan: Plan, *, threads: int) -> Trained:
    """Learn from a sample of a catalogue in the store what all shards will share, and store it."""
    opened = open_store(store)
    embeddings = Embeddings(opened, fingerprint)
    stop = sample_range(plan.products)
    products = read_catalogue_range(opened, catalogue, 0, stop)
    sample = vectors_of(products, embeddings, 0, stop)
    projection, trained = train(sample, plan, threads=threads)
    return Trained(
        blobs.put_bytes(opened, projection.to_bytes()) if projection else None,
        blobs.put_bytes(opened, trained) if trained else None,
    )


def sample_queries(store: str, catalogue: str, fingerprint: str, plan: Plan, projection: Blob | None) -> Vectors:
    """Return up to QUERIES indexed vectors to evaluate with: from the other end of the hashes than training's."""
    opened = open_store(store)
    start = int(2**32 * (1 - min(1.0, 4 * QUERIES / plan.products)))
    products = read_catalogue_range(opened, catalogue, start)
    vectors = vectors_of(products, Embeddings(opened, fingerprint), start, 2**32)[-QUERIES:].astype(np.float32)
    if projection is None:
        return normalise(vectors)
    return worker_projection(store, projection, vectors.shape[1], plan.dimension)(vectors)


def build_shard(
    store: str,
    catalogue: str,
    fingerprint: str,
    plan: Plan,
    shard: int,
    queries: Vectors,
    trained: Trained,
    *,
    threads: int,
) -> Shard | None:
    """Build and store one shard of a catalogue in the store; None where it has no products."""
    opened = open_store(store)
    start, stop = shard_range(shard, plan.shards)
    products = read_catalogue_range(opened, catalogue, start, stop)
    if not products.num_rows:
        return None
    vectors = vectors_of(products, Embeddings(opened, fingerprint), start, stop)
    index, indexed = build_index(
        vectors,
        plan,
        worker_projection(store, trained.projection, vectors.shape[1], plan.dimension) if trained.projection else None,
        blobs.read(opened, trained.index) if trained.index else None,
        threads=threads,
    )
    exact = exact_neighbours(queries, indexed, EXACT_DEPTH, threads=threads)
    with tempfile.TemporaryDirectory(prefix="lookalike-shard-") as folder:
        index_file, products_file = write_shard(index, products, Path(folder))
        section = ShardSection(
            index=blobs.put_file(opened, index_file),
            products=blobs.put_file(opened, products_file),
            count=products.num_rows,
        )
    return Shard(section, exact)


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


@lru_cache(maxsize=2)
def worker_encoder(store: str, encoder: EncoderSection, threads: int) -> OnnxEncoder:
    """Return the encoder that lies in the store, loaded once for each worker."""
    opened = open_store(store)
    spec = EncoderSpec.model_validate_json(blobs.read(opened, encoder.spec))
    loaded = OnnxEncoder(blobs.read(opened, encoder.model), spec, threads=threads)
    loaded.warm_up()
    return loaded


def worker_projection(store: str, blob: Blob, inputs: int, outputs: int) -> Projection:
    """Return a projection that lies in the store."""
    return Projection.from_bytes(blobs.read(open_store(store), blob), inputs=inputs, outputs=outputs)


def _write(embeddings: Embeddings, batches: Sequence[EmbeddedBatch]) -> Embedded:
    hashes = [bytes.fromhex(key) for batch in batches for key in batch.keys]
    if hashes:
        embeddings.write(hashes, np.concatenate([batch.vectors for batch in batches]))
    return Embedded(len(hashes), tuple(reject for batch in batches for reject in batch.rejects))


def _read_unchanged(reference: str, expected: bytes) -> bytes:
    data = read_image(reference)
    if hashlib.sha256(data).digest() != expected:
        raise ImageRejectedError("changed", f"{reference} changed during the run; the next run takes it up")
    return data


def _hash_image(reference: str) -> bytes | ImageRejectedError:
    try:
        return hashlib.sha256(read_image(reference)).digest()
    except ImageRejectedError as error:
        return error
