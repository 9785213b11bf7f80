"""What one worker does for one shard: train, build, evaluate. Arguments and results are small, the rest is stored."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.catalogue.normalised import read_catalogue_range
from lookalike.data.embeddings import Embeddings, among, differ, hash_array
from lookalike.data.errors import AlreadyExistsError, NotFoundError
from lookalike.data.snapshots import blobs, tombstones
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.cache import BlobCache
from lookalike.data.snapshots.manifest import EncoderSection, IndexSection, ShardSection, SpaceSection
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.build import measure
from lookalike.tasks.build.evaluate import EXACT_DEPTH, Examination, recall_by_score, seconds_per_query
from lookalike.tasks.build.index_kinds import KINDS
from lookalike.tasks.build.operating_points import OperatingPoint, OperatingPoints
from lookalike.tasks.build.planner import Plan
from lookalike.tasks.build.shard import ExactAnswers, build_index, shard_range, vector_batches, vectors_of, write_shard
from lookalike.tasks.build.train import projected, sample_size, train
from lookalike.tasks.search.group import SearchParameters
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.neighbours import RECALL_AT, Neighbours, merge
from lookalike.tasks.search.projection import Projection, Vectors, learn, normalise

OPERATING_POINTS = "operating-points/"
READ_AT_A_TIME = 2**17  # products, not fewer: what lies over all hashes is read for each
QUERIES = 1000  # the recall of so many is known to about 0.003
HELD_OUT = 0.1  # of the pictures, at most: what is left must be as dense as all are
MOST_SHOWN = 2.0  # times as many products as show a picture on average: of no more, what is held out is a fifth at most
FLAT_QUERIES = 200  # whose recall is no question
DELTA_QUERIES = 50
SAME_PICTURE = 0.99  # the score of a vector with its own 8-bit code is higher


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
class SampleQueries:
    """Pictures to evaluate an index with: their (n, dimension) vectors, and their (n,) hashes, sorted.

    A picture that is searched for is in no index: so no product that shows one of these is found.
    """

    vectors: Vectors
    hashes: NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class Shard:
    """A built shard, and what it tells of the exact answers to the sample queries.

    Attributes:
        section: for the manifest.
        exact: the best of this shard that are not held out; `rows` count within it.
        differs: a bit for each row, set where it shows another picture than the row before.
        held_out: a bit for each row, set where it shows what is searched for.
    """

    section: ShardSection
    exact: Neighbours
    differs: NDArray[np.uint8]
    held_out: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Measured:
    """How the whole index does.

    Attributes:
        recall: recall@10 against exact search, of pictures that cannot be found themselves.
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
    pictures: int,
    encoder: EncoderSection,
    outputs: int | None,
    target: float,
    *,
    threads: int,
) -> Sequence[OperatingPoint]:
    """Return what each kind of index reaches on a sample of the catalogue's vectors.

    What was measured is stored, and taken from there the next time: a run that was killed chooses again as it did.

    Args:
        pictures: how many different ones the products show.
        outputs: dimensions that the vectors are projected to; None where they are indexed as they are.
    """
    opened = open_store(store)
    key = _points_key(catalogue, encoder, outputs, target)
    with suppress(NotFoundError):
        return OperatingPoints.model_validate_json(opened.read(key)).points
    found = _measured_points(_Pictures(opened, catalogue, products, pictures, encoder), outputs, target, threads)
    with suppress(AlreadyExistsError):
        opened.create(key, found.model_dump_json(indent=2).encode())
    return OperatingPoints.model_validate_json(opened.read(key)).points  # whoever was first decides


def _points_key(catalogue: str, encoder: EncoderSection, outputs: int | None, target: float) -> str:
    how = (measure.SAMPLE, measure.LOOKED_AT, KINDS, faiss.__version__)
    what = json.dumps([catalogue, encoder.fingerprint, outputs, target, how])
    return f"{OPERATING_POINTS}{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"


def _measured_points(pictures: _Pictures, outputs: int | None, target: float, threads: int) -> OperatingPoints:
    sampled, asked = measure.split(pictures.count)
    sample = np.concatenate(list(pictures.first(sampled)))
    queries, _ = pictures.last(asked)
    projection = learn(sample.astype(np.float32), outputs) if outputs else None
    return measure.measure(
        projected(sample, projection),
        projected(queries, projection),
        (projected(part, projection) for part in pictures.first(measure.LOOKED_AT)),
        pictures.products,
        target,
        threads=threads,
        pictures=pictures.count,
    )


def train_index(source: Source, *, threads: int) -> Trained:
    """Learn from a sample of the catalogue what all shards will share, and store it."""
    store, plan = open_store(source.store), source.plan
    projection, trained = train(_pictures(store, source).first(sample_size(plan)), plan, threads=threads)
    return Trained(
        blobs.put_bytes(store, projection.to_bytes()) if projection else None,
        blobs.put_bytes(store, trained) if trained else None,
    )


def sample_queries(source: Source, trained: Trained) -> SampleQueries:
    """Return pictures to evaluate with: from the other end of the hashes than training's."""
    store, plan = open_store(source.store), source.plan
    most = FLAT_QUERIES if plan.key == "Flat" else QUERIES
    vectors, hashes = _pictures(store, source).last(max(1, min(most, int(HELD_OUT * plan.pictures))))
    return SampleQueries(_projected(store, trained.projection, vectors.astype(np.float32), plan.dimension), hashes)


def build_shard(source: Source, shard: int, queries: SampleQueries, trained: Trained, *, threads: int) -> Shard | None:
    """Build and store one shard; None where it has no products. Raises `CorruptError` for damaged trained parts."""
    store, plan = open_store(source.store), source.plan
    start, stop = shard_range(shard, plan.shards)
    products = read_catalogue_range(store, source.catalogue, start, stop)
    if not products.num_rows:
        return None
    hashes = hash_array(products["image_hash"])
    answers, held_out = ExactAnswers(queries.vectors, EXACT_DEPTH), among(hashes, queries.hashes)
    index = build_index(
        vector_batches(products, Embeddings(store, source.encoder.fingerprint), start, stop),
        products.num_rows,
        plan,
        _projection(store, trained.projection, source.encoder.dimension, plan.dimension),
        blobs.read(store, trained.index) if trained.index else None,
        answers,
        held_out,
        threads=threads,
    )
    section = _store_shard(store, index, products)
    return Shard(section, answers.neighbours, np.packbits(differ(hashes)), np.packbits(held_out))


def evaluate_index(
    store: str, shards: Sequence[Shard], dimension: int, queries: SampleQueries, target: float, *, threads: int
) -> Measured:
    """Search the stored shards with the code that serves them, tuned to a target recall; the time is of one thread."""
    sections = [shard.section for shard in shards]
    examination = Examination(queries.vectors, exact_answers(shards), _shown_pictures(shards))
    with tempfile.TemporaryDirectory(prefix="lookalike-evaluate-") as folder:
        cache, opened = BlobCache(Path(folder)), open_store(store)
        files = [cache.get(opened, section.index) for section in sections]
        open_index = partial(ShardedIndex.open, files, [section.count for section in sections], dimension, nprobe=None)
        asked, served = open_index(threads=threads, alive=_findable(shards)), open_index()
        reached = examination.tune(asked, target)
        served.parameters = asked.parameters
        seconds = seconds_per_query(served, queries.vectors, RECALL_AT)
        return Measured(reached, seconds, served.parameters, served.imbalance)


def exact_answers(shards: Sequence[Shard]) -> Neighbours:
    """Return the EXACT_DEPTH best of all shards to each sample query, as far as they are not held out."""
    starts = np.cumsum([0, *(shard.section.count for shard in shards)])
    parts = [shard.exact.shifted(int(start)) for shard, start in zip(shards, starts[:-1], strict=True)]
    return merge(parts, EXACT_DEPTH)


def _findable(shards: Sequence[Shard]) -> NDArray[np.bool_]:
    """Return a mask of the rows of all shards that are not held out."""
    held_out = [np.unpackbits(shard.held_out, count=shard.section.count) for shard in shards]
    return ~np.concatenate(held_out).astype(np.bool_)


def _shown_pictures(shards: Sequence[Shard]) -> NDArray[np.int32]:
    """Return the number of the picture that each row of all shards shows; no picture is in two of them."""
    differs = [np.unpackbits(shard.differs, count=shard.section.count) for shard in shards]
    return np.cumsum(np.concatenate(differs), dtype=np.int32)


def build_delta(store: str, space: SpaceSection, products: pa.Table) -> ShardSection:
    """Build and store a shard of some products, to be searched beside those of a full build: exact, as it is small."""
    opened = open_store(store)
    ordered = products.sort_by([("image_hash", "ascending"), ("id", "ascending")]).combine_chunks()
    vectors = Embeddings(opened, space.encoder.fingerprint).lookup(hash_array(ordered["image_hash"]))
    flat = faiss.IndexFlatIP(space.index.dimension)
    matrix = space.projection.matrix if space.projection else None
    flat.add(_projected(opened, matrix, vectors.astype(np.float32), space.index.dimension))
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
        queries, own, exact = _delta_queries(searched, shards[-1].count)
        found = searched.search(queries, RECALL_AT + 1).without(own)
        seconds = seconds_per_query(searched, queries, RECALL_AT)
        return Measured(recall_by_score(found, exact), seconds, searched.parameters, searched.imbalance)


def _delta_queries(index: ShardedIndex, count: int) -> tuple[Vectors, NDArray[np.int64], Neighbours]:
    """Return vectors of some of the last `count` rows, from everywhere among them, these rows, and their neighbours.

    Rows whose picture others show, too, are taken only where there are no others: any search finds these.
    """
    rows = index.size - count + np.unique(np.linspace(0, count - 1, DELTA_QUERIES).astype(np.int64))
    vectors, first = np.unique(np.stack([index.vector(row) for row in rows]), axis=0, return_index=True)
    rows = rows[first]
    exact = index.exact(vectors, RECALL_AT + 1).without(rows)
    alone = ~(exact.scores[:, :1] >= SAME_PICTURE).any(axis=1)
    asked = alone if alone.any() else ~alone
    return vectors[asked], rows[asked], Neighbours(exact.scores[asked], exact.rows[asked])


def _pictures(store: ObjectStore, source: Source) -> _Pictures:
    return _Pictures(store, source.catalogue, source.plan.products, source.plan.pictures, source.encoder)


class _Pictures:
    """The different pictures that the products of a catalogue show, in the order of their hashes.

    Hashes are uniform, so the first of them are an unbiased sample. However many products show a picture, what is
    learnt or measured sees it once.
    """

    def __init__(
        self, store: ObjectStore, catalogue: str, products: int, pictures: int, encoder: EncoderSection
    ) -> None:
        self.products = products
        self.count = pictures
        self._store = store
        self._catalogue = catalogue
        self._embeddings = Embeddings(store, encoder.fingerprint)

    def first(self, count: int) -> Iterator[NDArray[np.float16]]:
        """Yield the encoder vectors of `count` pictures, or of all, some at a time."""
        edges = np.linspace(0, 2**32, 1 - (-self.products // READ_AT_A_TIME), dtype=np.int64).tolist()
        for start, stop in pairwise(edges):
            products, _ = self._read(start, stop)
            for vectors in vector_batches(products.slice(0, count), self._embeddings, start, stop):
                count -= len(vectors)
                yield vectors
            if not count:
                return

    def last(self, count: int) -> tuple[NDArray[np.float16], NDArray[np.bytes_]]:
        """Return the encoder vectors and the hashes of the last `count` pictures, or of all, that few products show.

        Those that very many show would hide much of the catalogue where they are held out.
        """
        share = 4 * count / self.count  # enough, and then some
        while True:
            start = int(2**32 * (1 - min(1.0, share)))
            products, shown = self._read(start, 2**32)
            seldom = products.filter(pa.array(shown <= MOST_SHOWN * self.products / self.count))
            seldom = seldom.slice(max(0, seldom.num_rows - count))
            if seldom.num_rows >= count or not start:
                break
            share *= 4
        return vectors_of(seldom, self._embeddings, start, 2**32), hash_array(seldom["image_hash"])

    def _read(self, start: int, stop: int) -> tuple[pa.Table, NDArray[np.int64]]:
        """Return a product for each picture of a range of hashes, and how many there are that show it."""
        products = read_catalogue_range(self._store, self._catalogue, start, stop)
        first = np.flatnonzero(differ(hash_array(products["image_hash"])))
        return products.take(pa.array(first)), np.diff(first, append=products.num_rows)


def _store_shard(store: ObjectStore, index: faiss.Index, products: pa.Table) -> ShardSection:
    with tempfile.TemporaryDirectory(prefix="lookalike-shard-") as folder:
        index_file, products_file = write_shard(index, products, Path(folder))
        return ShardSection.of(
            index=blobs.put_file(store, index_file),
            products=blobs.put_file(store, products_file),
            count=products.num_rows,
        )


def _projected(store: ObjectStore, blob: Blob | None, vectors: Vectors, dimension: int) -> Vectors:
    projection = _projection(store, blob, vectors.shape[1], dimension)
    return projection(vectors) if projection else normalise(vectors)


def _projection(store: ObjectStore, blob: Blob | None, inputs: int, outputs: int) -> Projection | None:
    return Projection.from_bytes(blobs.read(store, blob), inputs=inputs, outputs=outputs) if blob else None
