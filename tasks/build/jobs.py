"""Jobs for workers: measure, train, build, evaluate. Arguments and results are small; data lies in the store."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.catalogue.normalised import read_catalogue_range
from lookalike.data.embeddings import Embeddings, among, differ, hash_array
from lookalike.data.errors import AlreadyExistsError, NotFoundError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob, BlobCache
from lookalike.data.snapshots.manifest import (
    DISTORTIONS,
    WHITENING,
    EncoderSection,
    IndexSection,
    Manifest,
    ShardSection,
    SpaceSection,
    ViewsSection,
)
from lookalike.data.snapshots.products import read_alive_rows
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.build import measure
from lookalike.tasks.build.centre import learn_centre
from lookalike.tasks.build.colours import store_colours
from lookalike.tasks.build.differences import read_differences
from lookalike.tasks.build.evaluate import EXACT_DEPTH, Examination, compute_recall_by_score, measure_seconds_per_query
from lookalike.tasks.build.pictures import CataloguePictures
from lookalike.tasks.build.planner import KINDS, OperatingPoint, OperatingPoints, Plan
from lookalike.tasks.build.shard import (
    ExactAnswers,
    build_index,
    read_vector_batches,
    shard_range,
    write_shard,
)
from lookalike.tasks.build.train import choose_sample_size, project, train
from lookalike.tasks.build.views import fetch_index_parts, list_views, merge_views, store_views
from lookalike.tasks.build.words import store_words
from lookalike.tasks.images import augmentations
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.neighbours import RECALL_AT, Neighbours, SearchParameters, merge
from lookalike.tasks.search.projection import Projection, Vectors, learn, normalise

OPERATING_POINTS = "operating-points/"
QUERIES = 1000  # with so many, recall is known to about 0.003
HELD_OUT = 0.1  # of the pictures, at most: the rest must be about as dense as all of them
FLAT_QUERIES = 200  # exact search has a recall of 1, so few are enough
DELTA_QUERIES = 50
SAME_PICTURE = 0.99  # two products of one picture score higher, even by 8-bit codes


@dataclass(frozen=True, slots=True)
class Source:
    """What shards are built from: a normalised catalogue and vectors in a store, and the plan to build by.

    `words` says whether the words of products can be searched, too, and `colours` whether those of their pictures are
    known.
    """

    store: str
    catalogue: str
    encoder: EncoderSection
    plan: Plan
    words: bool = True
    colours: bool = True


@dataclass(frozen=True, slots=True)
class TrainedParts:
    """What all shards share, as blobs: the projection and the empty trained index; None where the plan has none.

    `kind` says how the projection was learnt, and `centre` is that of texts, where the encoder encodes them, too.
    """

    projection: Blob | None
    index: Blob | None
    kind: str = WHITENING
    centre: Blob | None = None

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Those that there are."""
        return tuple(blob for blob in (self.projection, self.index, self.centre) if blob)

    @classmethod
    def of(cls, manifest: Manifest) -> TrainedParts:
        """Return those of a snapshot."""
        projection = manifest.image.projection
        if projection is None:
            return cls(None, manifest.index.trained)
        return cls(projection.matrix, manifest.index.trained, projection.kind, projection.centre)


@dataclass(frozen=True, slots=True)
class SampleQueries:
    """Pictures to evaluate an index with: their (n, dimension) vectors, and their (n,) hashes, sorted.

    Users search with pictures that no index holds. So products that show one of these pictures are held out.
    """

    vectors: Vectors
    hashes: NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class Shard:
    """A built shard, and its part of the exact answers to the sample queries.

    Attributes:
        section: for the manifest.
        exact: the best rows of this shard that are not held out, counted from its start.
        differs: a bit for each row, set where it shows another picture than the row before.
        held_out: a bit for each row, set where it shows the picture of a sample query.
    """

    section: ShardSection
    exact: Neighbours
    differs: NDArray[np.uint8]
    held_out: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Measurement:
    """The measured quality of a whole index.

    Attributes:
        recall: recall@10 against exact search, for pictures that are held out.
        seconds: the median of one query, searched alone.
        parameters: the least effort that reaches the recall.
        imbalance: how unevenly rows lie in inverted lists, None where there are none.
    """

    recall: float
    seconds: float
    parameters: SearchParameters
    imbalance: float | None = None


def measure_operating_points(
    store: str,
    catalogue: str,
    products: int,
    pictures: int,
    encoder: EncoderSection,
    outputs: int | None,
    target: float,
    *,
    distorted: tuple[bytes, ...] = (),
    threads: int,
) -> Sequence[OperatingPoint]:
    """Return what each kind of index reaches on a sample of the catalogue's vectors.

    The measured points are stored and read from there the next time, so a run that was killed makes the same choice.

    Args:
        pictures: how many different pictures the products show.
        outputs: the dimensions that vectors are projected to; None where they are not projected.
        distorted: the pictures whose distorted copies the projection is learnt from.
    """
    opened = open_store(store)
    key = _make_points_key(catalogue, encoder, outputs, distorted, target)
    with suppress(NotFoundError):
        return OperatingPoints.model_validate_json(opened.read(key)).points
    differences = read_differences(opened, encoder, distorted) if distorted else None
    found = _measure_points(
        CataloguePictures(opened, catalogue, products, pictures, encoder), outputs, differences, target, threads
    )
    with suppress(AlreadyExistsError):
        opened.create(key, found.model_dump_json(indent=2).encode())
    return OperatingPoints.model_validate_json(opened.read(key)).points  # of two runs at once, the first one decides


def _make_points_key(
    catalogue: str, encoder: EncoderSection, outputs: int | None, distorted: Sequence[bytes], target: float
) -> str:
    how = (measure.SAMPLE, measure.LOOKED_AT, KINDS, faiss.__version__, augmentations.VERSION)
    pictures = [one.hex() for one in distorted]
    what = json.dumps([catalogue, encoder.fingerprint, outputs, pictures, target, how])
    return f"{OPERATING_POINTS}{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"


def _measure_points(
    pictures: CataloguePictures, outputs: int | None, differences: Vectors | None, target: float, threads: int
) -> OperatingPoints:
    sampled, asked = measure.split(pictures.count)
    sample = np.concatenate(list(pictures.read_first(sampled)))
    queries, _ = pictures.read_last(asked)
    projection = learn(sample.astype(np.float32), outputs, differences) if outputs else None
    return measure.measure(
        project(sample, projection),
        project(queries, projection),
        (project(part, projection) for part in pictures.read_first(measure.LOOKED_AT)),
        pictures.products,
        target,
        threads=threads,
        pictures=pictures.count,
    )


def train_index(source: Source, *, threads: int) -> TrainedParts:
    """Learn the parts that all shards share from a sample of the catalogue, and store them."""
    store, plan = open_store(source.store), source.plan
    differences = read_differences(store, source.encoder, plan.distorted) if plan.distorted else None
    projection, trained = train(
        _open_pictures(store, source).read_first(choose_sample_size(plan)), plan, differences, threads=threads
    )
    centre = None
    if projection and source.encoder.text:
        centre = learn_centre(store, source.catalogue, plan.products, source.encoder, threads=threads)
    return TrainedParts(
        blobs.put_bytes(store, projection.to_bytes()) if projection else None,
        blobs.put_bytes(store, trained) if trained else None,
        WHITENING if differences is None else DISTORTIONS,
        centre,
    )


def sample_queries(source: Source, trained: TrainedParts) -> SampleQueries:
    """Return pictures to evaluate with, from the end of the hashes; training takes its pictures from the start."""
    store, plan = open_store(source.store), source.plan
    most = FLAT_QUERIES if plan.key == "Flat" else QUERIES
    vectors, hashes = _open_pictures(store, source).read_last(max(1, min(most, int(HELD_OUT * plan.pictures))))
    return SampleQueries(_project(store, trained.projection, vectors.astype(np.float32), plan.dimension), hashes)


def build_shard(
    source: Source, shard: int, queries: SampleQueries, trained: TrainedParts, *, threads: int
) -> Shard | None:
    """Build and store one shard; None where it has no products.

    Raises `CorruptError` where trained parts are damaged.
    """
    store, plan = open_store(source.store), source.plan
    start, stop = shard_range(shard, plan.shards)
    products = read_catalogue_range(store, source.catalogue, start, stop)
    if not products.num_rows:
        return None
    hashes = hash_array(products["image_hash"])
    embeddings = Embeddings(store, source.encoder.fingerprint)
    make_index = partial(
        build_index,
        plan=plan,
        projection=_read_projection(store, trained.projection, source.encoder.dimension, plan.dimension),
        trained=blobs.read(store, trained.index) if trained.index else None,
        threads=threads,
    )
    further = list_views(products)
    owners = further["row"].to_numpy().astype(np.int64)
    held_out = among(hashes, queries.hashes)
    held_out[owners[among(hash_array(further["image_hash"]), queries.hashes)]] = True
    answers = ExactAnswers(queries.vectors, EXACT_DEPTH)
    index = make_index(
        read_vector_batches(products, embeddings, start, stop), products.num_rows, answers=answers, held_out=held_out
    )
    # one product may be all that is near: look so deep that as many others are seen
    of_views = ExactAnswers(queries.vectors, EXACT_DEPTH * int(np.bincount(owners).max(initial=0)))
    make_views = partial(make_index, answers=of_views, held_out=held_out[owners])
    views = store_views(store, further, embeddings, make_views)
    section = _store_shard(store, index, products, words=source.words, colours=source.colours, views=views)
    exact = merge_views(answers.neighbours, of_views.neighbours, owners)
    return Shard(section, exact, np.packbits(differ(hashes)), np.packbits(held_out))


def evaluate_index(
    store: str, shards: Sequence[Shard], dimension: int, queries: SampleQueries, target: float, *, threads: int
) -> Measurement:
    """Tune the stored shards to a target recall with the code that serves them, and time queries of one thread."""
    sections = [shard.section for shard in shards]
    examination = Examination(queries.vectors, merge_exact_answers(shards), _number_pictures(shards))
    with tempfile.TemporaryDirectory(prefix="lookalike-evaluate-") as folder:
        cache, opened = BlobCache(Path(folder)), open_store(store)
        files, counts, views = fetch_index_parts(opened, cache, sections)
        open_index = partial(ShardedIndex.open, files, counts, dimension, nprobe=None, views=views)
        asked = open_index(threads=threads, alive=_mask_findable(shards))
        served = open_index(previous=asked)
        reached = examination.tune(asked, target)
        served.parameters = asked.parameters
        seconds = measure_seconds_per_query(served, queries.vectors, RECALL_AT)
        return Measurement(reached, seconds, served.parameters, served.imbalance)


def merge_exact_answers(shards: Sequence[Shard]) -> Neighbours:
    """Return the EXACT_DEPTH best rows of all shards for each sample query, without rows that are held out."""
    starts = np.cumsum([0, *(shard.section.count for shard in shards)])
    parts = [shard.exact.shift(int(start)) for shard, start in zip(shards, starts[:-1], strict=True)]
    return merge(parts, EXACT_DEPTH)


def _mask_findable(shards: Sequence[Shard]) -> NDArray[np.bool_]:
    """Return a mask of the rows of all shards that are not held out."""
    held_out = [np.unpackbits(shard.held_out, count=shard.section.count) for shard in shards]
    return ~np.concatenate(held_out).astype(np.bool_)


def _number_pictures(shards: Sequence[Shard]) -> NDArray[np.int32]:
    """Return the number of the picture that each row shows, over all shards; no picture is in two shards."""
    differs = [np.unpackbits(shard.differs, count=shard.section.count) for shard in shards]
    return np.cumsum(np.concatenate(differs), dtype=np.int32)


def build_delta(
    store: str, space: SpaceSection, products: pa.Table, *, words: bool, colours: bool = False
) -> ShardSection:
    """Build and store a delta: a small shard that is searched exactly, beside the shards of a full build."""
    opened = open_store(store)
    ordered = products.sort_by([("image_hash", "ascending"), ("id", "ascending")]).combine_chunks()
    embeddings = Embeddings(opened, space.encoder.fingerprint)
    matrix = space.projection.matrix if space.projection else None

    def make_index(batches: Iterable[NDArray[np.float16]], _: int) -> faiss.Index:
        flat = faiss.IndexFlatIP(space.index.dimension)
        for vectors in batches:
            flat.add(_project(opened, matrix, vectors.astype(np.float32), space.index.dimension))
        return flat

    flat = make_index([embeddings.lookup(hash_array(ordered["image_hash"]))], ordered.num_rows)
    views = store_views(opened, list_views(ordered), embeddings, make_index)
    section = _store_shard(opened, flat, ordered, words=words, colours=colours, views=views)
    return section.model_copy(update={"delta": True})


def measure_refresh(store: str, shards: Sequence[ShardSection], index: IndexSection) -> Measurement:
    """Measure a refreshed snapshot with queries from its delta, against exact search."""
    opened = open_store(store)
    with tempfile.TemporaryDirectory(prefix="lookalike-refresh-") as folder:
        files, counts, views = fetch_index_parts(opened, BlobCache(Path(folder)), shards)
        searched = ShardedIndex.open(
            *(files, counts, index.dimension),
            nprobe=index.nprobe,
            ef_search=index.ef_search,
            k_factor=index.k_factor,
            alive=np.concatenate([read_alive_rows(opened, shard) for shard in shards]),
            views=views,
        )
        queries, own, exact = _choose_delta_queries(searched, shards[-1].count)
        found = searched.search(queries, RECALL_AT + 1).exclude(own)
        seconds = measure_seconds_per_query(searched, queries, RECALL_AT)
        return Measurement(compute_recall_by_score(found, exact), seconds, searched.parameters, searched.imbalance)


def _choose_delta_queries(index: ShardedIndex, count: int) -> tuple[Vectors, NDArray[np.int64], Neighbours]:
    """Choose queries from the last `count` rows: return their vectors, their rows, and their exact neighbours.

    Rows that share their picture with others are left out unless all do: any search finds such neighbours.
    """
    rows = index.size - count + np.unique(np.linspace(0, count - 1, DELTA_QUERIES).astype(np.int64))
    vectors, first = np.unique(np.stack([index.reconstruct(row) for row in rows]), axis=0, return_index=True)
    rows = rows[first]
    exact = index.search_exact(vectors, RECALL_AT + 1).exclude(rows)
    alone = ~(exact.scores[:, :1] >= SAME_PICTURE).any(axis=1)
    asked = alone if alone.any() else ~alone
    return vectors[asked], rows[asked], Neighbours(exact.scores[asked], exact.rows[asked])


def _open_pictures(store: ObjectStore, source: Source) -> CataloguePictures:
    return CataloguePictures(store, source.catalogue, source.plan.products, source.plan.pictures, source.encoder)


def _store_shard(
    store: ObjectStore,
    index: faiss.Index,
    products: pa.Table,
    *,
    words: bool,
    colours: bool,
    views: ViewsSection | None,
) -> ShardSection:
    with tempfile.TemporaryDirectory(prefix="lookalike-shard-") as folder:
        index_file, products_file = write_shard(index, products, Path(folder))
        return ShardSection.of(
            index=blobs.put_file(store, index_file),
            products=blobs.put_file(store, products_file),
            count=products.num_rows,
            text=store_words(store, products) if words else None,
            colours=store_colours(store, products) if colours else None,
            views=views,
        )


def _project(store: ObjectStore, blob: Blob | None, vectors: Vectors, dimension: int) -> Vectors:
    projection = _read_projection(store, blob, vectors.shape[1], dimension)
    return projection(vectors) if projection else normalise(vectors)


def _read_projection(store: ObjectStore, blob: Blob | None, inputs: int, outputs: int) -> Projection | None:
    return Projection.from_bytes(blobs.read(store, blob), inputs=inputs, outputs=outputs) if blob else None
