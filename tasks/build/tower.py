"""How well texts find pictures, where the encoder of pictures encodes texts, too."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.manifest import IndexSection, Manifest, ShardSection, SpaceSection
from lookalike.data.snapshots.products import read_alive_rows
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.build.centre import CAPTIONS
from lookalike.tasks.build.evaluate import EXACT_DEPTH, ExaminationByScore, measure_seconds_per_query
from lookalike.tasks.build.texts import QUERIES, leave_words_out, read_shard_texts
from lookalike.tasks.encoders.texts.base import encode_texts
from lookalike.tasks.encoders.texts.content import DEFAULT_FIELDS, read_texts
from lookalike.tasks.encoders.texts.stored import load_text_encoder
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.neighbours import RECALL_AT
from lookalike.tasks.search.projection import Projection
from lookalike.tasks.search.tower import TextTower, read_centre

RECALL, HITS, MILLISECONDS = "tower_recall_at_10", "tower_title_hits_at_10", "tower_query_ms"


@dataclass(frozen=True, slots=True)
class MeasuredTower:
    """How well texts find pictures, and the index as it must be searched for that.

    Attributes:
        figures: for the manifest: recall@10 against exact search; the share of titles that have their own product
            among the first ten; milliseconds of one search.
    """

    index: IndexSection
    figures: Mapping[str, float]


def evaluate_tower(
    store: str, space: SpaceSection, shards: Sequence[ShardSection], target: float, *, threads: int
) -> MeasuredTower:
    """Measure how texts find pictures, and search further where the effort for pictures is not enough for texts.

    The index was trained on pictures, and texts lie elsewhere: what suffices for the one may not for the other.
    """
    opened = open_store(store)
    titles, rows = _sample_titles(opened, shards)
    tower = _load_tower(opened, space, threads)
    asked = [leave_words_out(title) for title in titles] or list(CAPTIONS)
    vectors = encode_texts(tower.encoder, asked)
    queries = tower.find_directions(vectors[vectors.any(axis=1)])
    with tempfile.TemporaryDirectory(prefix="lookalike-evaluate-") as folder:
        index = _open_index(opened, space.index, shards, BlobCache(Path(folder)), threads)
        examination = ExaminationByScore(queries, index.search_exact(queries, EXACT_DEPTH))
        recall = examination.recall(index)
        if recall < target:
            recall = examination.tune(index, target)
        figures = {RECALL: recall}
        if titles:
            whole = tower.find_directions(encode_texts(tower.encoder, titles))
            found = index.search(whole, RECALL_AT).rows
            figures[HITS] = float((found == rows[:, None]).any(axis=1).mean())
        index.threads = 1
        figures[MILLISECONDS] = 1000 * measure_seconds_per_query(index, queries, RECALL_AT)
        return MeasuredTower(_with_effort(space.index, index), figures)


def keep_figures(parent: Manifest) -> dict[str, float]:
    """Return what a refresh, which measures none of this, takes over from its parent."""
    return {name: value for name, value in parent.quality.items() if name in {RECALL, HITS, MILLISECONDS}}


def _sample_titles(store: ObjectStore, shards: Sequence[ShardSection]) -> tuple[list[str], NDArray[np.int64]]:
    """Return up to QUERIES different titles of products that are alive, with the rows of the products."""
    titles: dict[str, int] = {}
    start = 0
    for shard in shards:
        alive = read_alive_rows(store, shard)
        texts = [text for table in read_shard_texts(store, shard) for text in read_texts(table, DEFAULT_FIELDS)]
        titles.update({text: start + row for row, text in enumerate(texts) if text and alive[row]})
        start += shard.count
        if len(titles) >= QUERIES:
            break
    step = max(1, len(titles) // QUERIES)
    chosen = list(titles)[::step][:QUERIES]
    return chosen, np.array([titles[title] for title in chosen], np.int64)


def _load_tower(store: ObjectStore, space: SpaceSection, threads: int) -> TextTower:
    section, learnt = space.encoder.text, space.projection
    assert section is not None  # noqa: S101 - who calls this has looked
    projection = centre = None
    if learnt is not None:
        data = blobs.read(store, learnt.matrix)
        projection = Projection.from_bytes(data, inputs=section.dimension, outputs=space.index.dimension)
        centre = read_centre(blobs.read(store, learnt.centre), section.dimension) if learnt.centre else None
    return TextTower(section, load_text_encoder(store.uri, section, threads), projection, centre)


def _open_index(
    store: ObjectStore, section: IndexSection, shards: Sequence[ShardSection], cache: BlobCache, threads: int
) -> ShardedIndex:
    return ShardedIndex.open(
        [cache.get(store, shard.index) for shard in shards],
        [shard.count for shard in shards],
        section.dimension,
        nprobe=section.nprobe,
        ef_search=section.ef_search,
        k_factor=section.k_factor,
        threads=threads,
        alive=np.concatenate([read_alive_rows(store, shard) for shard in shards]),
    )


def _with_effort(section: IndexSection, index: ShardedIndex) -> IndexSection:
    effort = index.parameters
    changes = {"nprobe": effort.nprobe, "ef_search": effort.ef_search, "k_factor": effort.k_factor}
    return section.model_copy(update=changes)
