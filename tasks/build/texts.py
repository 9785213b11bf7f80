"""Jobs for workers: the index of the products' texts, a part of it for each shard.

It is built from shards that are there already, so a full build and a refresh do the same. Texts are compared by the
cosine of the encoder's own vectors: their projection is none, and so 0 means unrelated in every catalogue.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lookalike.data.embeddings import LOST, Embeddings, positions
from lookalike.data.errors import CorruptError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob, BlobCache
from lookalike.data.snapshots.manifest import (
    TEXT,
    EncoderSection,
    IndexSection,
    Manifest,
    ShardSection,
    ShardSpaceSection,
    SpaceSection,
)
from lookalike.data.snapshots.products import READ_ROWS, read_alive_rows
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.build.evaluate import EXACT_DEPTH, ExaminationByScore, measure_seconds_per_query
from lookalike.tasks.build.jobs import Measurement
from lookalike.tasks.build.planner import FLAT_UP_TO, GROWTH, SAMPLES_PER_LIST, TRAINING_SAMPLE, make_index_key
from lookalike.tasks.build.shard import ADD_BATCH, add_vectors
from lookalike.tasks.build.train import MOST_SAMPLES, train_index
from lookalike.tasks.encoders.texts.base import encode_texts
from lookalike.tasks.encoders.texts.content import hash_texts, read_texts
from lookalike.tasks.encoders.texts.stored import load_text_encoder
from lookalike.tasks.search.faiss_io import read_bytes, use_threads
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.meaning import read_rows
from lookalike.tasks.search.neighbours import RECALL_AT, SearchParameters
from lookalike.tasks.search.projection import normalise

QUERIES = 200
LEFT_OUT = 3  # of a title, each third word, for a query: people do not type whole titles

Vectors = NDArray[np.float32]
Hashes = NDArray[np.bytes_]
Part = ShardSpaceSection | None


@dataclass(frozen=True, slots=True)
class TextChoice:
    """What of products is encoded, and by which encoder."""

    encoder: EncoderSection
    fields: tuple[str, ...]

    def is_same(self, space: SpaceSection | None) -> bool:
        """Tell whether a snapshot's texts were encoded so."""
        return space is not None and space.fields == self.fields and space.encoder.is_same(self.encoder)


@dataclass(frozen=True, slots=True)
class TextPlan:
    """What the texts' index will be: its key, how many texts it holds, and the empty trained index, if it has one."""

    key: str
    texts: int
    trained_on: int
    trained: Blob | None
    reason: str


@dataclass(frozen=True, slots=True)
class BuiltTexts:
    """The space of texts of a whole snapshot: its section, shards with their parts of it, and how well it answers."""

    space: SpaceSection
    shards: tuple[ShardSection, ...]
    measured: Measurement

    @classmethod
    def of_refresh(cls, parent: Manifest, shards: Sequence[ShardSection]) -> BuiltTexts | None:
        """Return the space of a refreshed snapshot: that of its parent, as it was tuned and measured there."""
        if parent.text is None:
            return None
        quality, index = parent.quality, parent.text.index
        measured = Measurement(
            quality.get("text_recall_at_10", 1.0),
            quality.get("text_query_ms", 0.0) / 1000,
            SearchParameters(index.nprobe, index.ef_search, index.k_factor),
        )
        return cls(parent.text, tuple(shards), measured)

    def to_quality(self) -> dict[str, float]:
        """Return the figures that a manifest keeps."""
        return {"text_recall_at_10": self.measured.recall, "text_query_ms": 1000 * self.measured.seconds}


def find_text_change(store: ObjectStore, parent: Manifest, choice: TextChoice | None) -> str | None:
    """Return why texts are to be encoded for all products of a snapshot, or for none any more; None for no change."""
    if choice is None:
        return "texts are no longer encoded" if parent.text else None
    if choice.is_same(parent.text):
        return None
    if parent.text is None and not _has_texts(store, parent, choice):
        return None
    return "texts are encoded otherwise than in the published snapshot"


def _has_texts(store: ObjectStore, parent: Manifest, choice: TextChoice) -> bool:
    tables = (table for shard in parent.shards for table in read_shard_texts(store, shard))
    return any(any(read_texts(table, choice.fields)) for table in tables)


def read_shard_texts(store: ObjectStore, shard: ShardSection) -> Iterator[pa.Table]:
    """Yield what of a shard's products texts are read from, some thousand at a time, those that are dead included.

    Raises `CorruptError`, `NotFoundError`.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(blobs.read(store, shard.products))) as file:
            names = [name for name in ("title", "attributes") if name in file.schema_arrow.names]
            for batch in file.iter_batches(READ_ROWS, columns=names):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise CorruptError(f"{shard.products.key} holds no products: {error}") from error


def plan_texts(
    store: str,
    choice: TextChoice,
    shards: Sequence[ShardSection],
    parent: SpaceSection | None,
    *,
    threads: int,
) -> TextPlan | None:
    """Choose the kind of index, and train it where it needs that; None where no product has a text.

    Args:
        parent: the texts of the last snapshot, where its training may be used again.
    """
    opened = open_store(store)
    hashes = _hash_shards(opened, choice, shards)
    count = len(hashes)
    if not count:
        return None
    if count <= FLAT_UP_TO:
        return TextPlan("Flat", count, count, None, f"{count:,} texts: exact search is fast enough")
    if parent and parent.index.trained and choice.is_same(parent):
        before = parent.index.trained_on
        if 1 / GROWTH < count / before < GROWTH:
            reason = f"{count:,} texts: as in the last snapshot"
            return TextPlan(parent.index.key, count, before, parent.index.trained, reason)
    different = np.unique(hashes)
    key = make_index_key("IVF SQ8", count, len(different), choice.encoder.dimension)
    lists = int(key.removeprefix("IVF").partition(",")[0].partition("_")[0])
    wanted = different[
        : max(TRAINING_SAMPLE, min(MOST_SAMPLES, SAMPLES_PER_LIST * lists))
    ]  # hashes are uniform: the first are any
    embeddings = Embeddings(opened, choice.encoder.fingerprint)
    _, sample = embeddings.read(0, int(positions(wanted[-1:])[0]) + 1, wanted)
    vectors = sample.astype(np.float32)
    trained = train_index(key, normalise(vectors[vectors.any(axis=1)]), threads=threads)
    reason = f"{count:,} texts: inverted lists with one byte a dimension"
    return TextPlan(key, count, count, blobs.put_bytes(opened, trained), reason)


def build_text_part(
    store: str, choice: TextChoice, plan: TextPlan, shard: ShardSection, *, threads: int
) -> ShardSpaceSection | None:
    """Build and store one shard's part; None where none of its products has a text with a meaning.

    Raises `CorruptError` where the store lost a vector.
    """
    opened = open_store(store)
    hashes, rows = _read_hashes(opened, choice, shard)
    wanted = np.unique(hashes)
    known, vectors = Embeddings(opened, choice.encoder.fingerprint).read(0, 2**32, wanted)
    if not np.array_equal(known, wanted):
        raise CorruptError(LOST)
    places = np.searchsorted(wanted, hashes)
    has_direction = np.any(vectors, axis=1)[places] if len(places) else np.empty(0, bool)
    places, rows = places[has_direction], rows[has_direction]
    if not len(rows):
        return None
    trained = blobs.read(opened, plan.trained) if plan.trained else None
    index = read_bytes(trained) if trained else faiss.IndexFlatIP(choice.encoder.dimension)
    use_threads(threads)
    for start in range(0, len(places), ADD_BATCH):
        batch = vectors[places[start : start + ADD_BATCH]].astype(np.float32)
        add_vectors(index, normalise(batch), start, len(places))
    with tempfile.TemporaryDirectory(prefix="lookalike-texts-") as folder:
        file = Path(folder) / "texts.faiss"
        faiss.write_index(index, str(file))
        blob = blobs.put_file(opened, file)
    every = len(rows) == shard.count
    return ShardSpaceSection(index=blob, rows=None if every else blobs.put_bytes(opened, rows_to_bytes(rows)))


def build_delta_part(store: str, choice: TextChoice, shard: ShardSection) -> ShardSpaceSection | None:
    """Build the part of a delta, which is searched exactly."""
    plan = TextPlan("Flat", shard.count, shard.count, None, "a delta")
    return build_text_part(store, choice, plan, shard, threads=1)


def evaluate_texts(
    store: str, choice: TextChoice, shards: Sequence[ShardSection], target: float, *, threads: int
) -> Measurement:
    """Tune the stored parts to a target recall with the code that serves them, and time queries of one thread.

    Queries are titles with words left out. Their exact answers are those of the same codes.
    """
    opened = open_store(store)
    queries = _make_queries(store, choice, shards, threads)
    with tempfile.TemporaryDirectory(prefix="lookalike-evaluate-") as folder:
        index = _open_index(opened, shards, choice.encoder.dimension, BlobCache(Path(folder)), threads)
        exact = index.search_exact(queries, EXACT_DEPTH)
        reached = ExaminationByScore(queries, exact).tune(index, target)
        index.threads = 1
        seconds = measure_seconds_per_query(index, queries, RECALL_AT)
        return Measurement(reached, seconds, index.parameters, index.imbalance)


def describe_text_space(choice: TextChoice, plan: TextPlan, measured: Measurement) -> SpaceSection:
    """Return the manifest's description of the space of texts."""
    index = IndexSection(
        key=plan.key,
        dimension=choice.encoder.dimension,
        trained=plan.trained,
        trained_on=plan.trained_on,
        nprobe=measured.parameters.nprobe,
        reason=plan.reason,
    )
    return SpaceSection(encoder=choice.encoder, index=index, fields=choice.fields)


def with_text_parts(
    shards: Sequence[ShardSection], parts: Sequence[ShardSpaceSection | None]
) -> tuple[ShardSection, ...]:
    """Return shards with their parts of the space of texts."""
    return tuple(
        shard.model_copy(update={"spaces": {**shard.spaces, TEXT: part}}) if part else shard
        for shard, part in zip(shards, parts, strict=True)
    )


def rows_to_bytes(rows: NDArray[np.integer]) -> bytes:
    """Return (n,) ascending rows as a `.npy` of uint32."""
    buffer = io.BytesIO()
    np.save(buffer, rows.astype(np.uint32), allow_pickle=False)
    return buffer.getvalue()


def _hash_shards(store: ObjectStore, choice: TextChoice, shards: Sequence[ShardSection]) -> Hashes:
    """Return the hashes of all texts of all shards, as often as products have them."""
    return np.concatenate([_read_hashes(store, choice, shard)[0] for shard in shards])


def _read_hashes(store: ObjectStore, choice: TextChoice, shard: ShardSection) -> tuple[Hashes, NDArray[np.int64]]:
    """Return the hashes of a shard's texts, and the rows of the products that have them."""
    texts = [text for table in read_shard_texts(store, shard) for text in read_texts(table, choice.fields)]
    rows = np.array([row for row, text in enumerate(texts) if text], np.int64)
    return hash_texts([text for text in texts if text]), rows


def _make_queries(store: str, choice: TextChoice, shards: Sequence[ShardSection], threads: int) -> Vectors:
    """Return the vectors of up to QUERIES different texts, with words left out."""
    texts: dict[str, None] = {}
    for shard in shards:
        if TEXT in shard.spaces:
            for table in read_shard_texts(open_store(store), shard):
                texts.update(dict.fromkeys(text for text in read_texts(table, choice.fields) if text))
    step = max(1, len(texts) // QUERIES)
    shortened = [leave_words_out(text) for text in list(texts)[::step][:QUERIES]]
    vectors = encode_texts(load_text_encoder(store, choice.encoder, threads), shortened)
    return vectors[vectors.any(axis=1)]


def leave_words_out(text: str) -> str:
    """Return a title as people may type it: of three words or more without each third one."""
    words = text.split()
    kept = [word for place, word in enumerate(words) if len(words) < LEFT_OUT or (place + 1) % LEFT_OUT]
    return " ".join(kept)


def _open_index(
    store: ObjectStore, shards: Sequence[ShardSection], dimension: int, cache: BlobCache, threads: int
) -> ShardedIndex:
    """Open all parts as one index, in which what is dead cannot be found."""
    files, counts, alive = [], [], []
    for shard in shards:
        part = shard.spaces.get(TEXT)
        if part is not None:
            rows = read_rows(blobs.read(store, part.rows) if part.rows else None, shard.count)
            files.append(cache.get(store, part.index))
            counts.append(len(rows))
            alive.append(read_alive_rows(store, shard)[rows])
    return ShardedIndex.open(files, counts, dimension, nprobe=None, threads=threads, alive=np.concatenate(alive))
