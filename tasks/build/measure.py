"""Measure the operating points of every kind of index, on a sample of a catalogue and for the whole catalogue.

A sample drawn at random is sparser than the catalogue: neighbours lie further away in it, and an index must visit more
lists to find them. So the number of lists to visit is computed from neighbourhoods: the true nearest vectors of a few
queries in the whole catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import faiss
import numpy as np

from lookalike.tasks.build.evaluate import EXACT_DEPTH, Examination, measure_seconds_per_query
from lookalike.tasks.build.planner import (
    GRAPH_OF_CENTROIDS_FROM,
    LINKS,
    SAMPLES_PER_LIST,
    SHORT_CODES_FROM,
    Kind,
    OperatingPoint,
    OperatingPoints,
    count_bytes_beside,
    count_lists,
    make_index_key,
)
from lookalike.tasks.build.shard import ExactAnswers, add_vectors
from lookalike.tasks.build.train import join_parts, learn_centroids, train_index
from lookalike.tasks.search.faiss_io import read_bytes, use_threads
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.inverted import choose_coarse_ef
from lookalike.tasks.search.neighbours import RECALL_AT
from lookalike.tasks.search.projection import Vectors

EQUAL = 1e-5  # the score of a vector with itself differs from 1 by less

SAMPLE = 32_768
QUERIES = 300
KEPT = 2**18  # vectors, to learn centroids from
LOOKED_AT = 2_000_000  # vectors to search for neighbours: reading more takes time and changes little


class Neighbourhoods(NamedTuple):
    """Queries (n, d), their nearest vectors (n, k, d), and a sample of all vectors to learn centroids from."""

    queries: Vectors
    nearest: Vectors
    sample: Vectors


def find_neighbourhoods(queries: Vectors, batches: Iterable[Vectors], k: int, sample: int) -> Neighbourhoods:
    """Find the k nearest of (n, d) queries among batches of vectors of length 1; there must be at least k + 1 vectors.

    A query that is among the vectors is not its own neighbour. The first `sample` vectors are kept.
    """
    scores = np.full((len(queries), k + 1), -np.inf, np.float32)
    nearest = np.zeros((len(queries), k + 1, queries.shape[1]), np.float32)
    kept: list[Vectors] = []
    for batch in batches:
        found, rows = faiss.knn(queries, batch, min(k + 1, len(batch)), metric=faiss.METRIC_INNER_PRODUCT)
        every = np.concatenate([scores, found], axis=1)
        best = np.argsort(-every, axis=1, kind="stable")[:, : k + 1]
        scores = np.take_along_axis(every, best, axis=1)
        both = np.concatenate([nearest, batch[rows]], axis=1)
        nearest = np.take_along_axis(both, best[:, :, None], axis=1)
        if room := max(0, sample - sum(map(len, kept))):
            kept.append(batch[:room].copy())  # without a copy, the part would keep the whole batch in memory
    is_there = scores[:, 0] >= 1 - EQUAL
    return Neighbourhoods(queries, np.where(is_there[:, None, None], nearest[:, 1:], nearest[:, :-1]), join_parts(kept))


def count_lists_to_visit(around: Neighbourhoods, lists: int, target: float) -> int:
    """Return how many of `lists` lists a query must visit to find the share `target` of its neighbours."""
    if len(around.sample) < lists:
        return lists
    known = learn_centroids(around.sample[: SAMPLES_PER_LIST * lists], lists)
    count, k, dimension = around.nearest.shape
    _, places = faiss.knn(around.nearest.reshape(-1, dimension), known, 1, metric=faiss.METRIC_INNER_PRODUCT)
    scores = around.queries @ known.T
    where = np.take_along_axis(scores, places.reshape(count, k), axis=1)
    ranks = [(scores[query] > where[query, :, None]).sum(axis=1) for query in range(count)]
    return int(np.quantile(ranks, min(target, 1.0), method="higher")) + 1


def split(pictures: int) -> tuple[int, int]:
    """Return how many pictures to sample, and how many other pictures to use as queries."""
    asked = max(1, min(QUERIES, pictures // 10))
    return max(1, min(SAMPLE, pictures - asked)), asked


def measure(
    sample: Vectors,
    queries: Vectors,
    batches: Iterable[Vectors],
    total: int,
    target: float,
    *,
    threads: int,
    pictures: int | None = None,
) -> OperatingPoints:
    """Tune each kind of index over an (n, d) sample to a target recall@10 of (m, d) queries that are not in it.

    The number of lists to visit in the whole catalogue follows from where the queries' neighbours lie there. A graph
    takes many times as long to build as lists do, and each reindex rebuilds its shards. So a graph is measured, and can
    be chosen, only where no kind of lists reaches the target.

    Args:
        batches: the vectors of all pictures, or of many; the queries may be among them.
        total: the number of products.
        pictures: how many different pictures they show; by default each product shows its own.
    """
    use_threads(threads)
    around = find_neighbourhoods(queries, batches, RECALL_AT, KEPT)
    answers = ExactAnswers(queries, EXACT_DEPTH)
    answers.add(sample, np.arange(len(sample)))
    examination = Examination(queries, answers.neighbours)

    def point(kind: Kind) -> OperatingPoint:
        return _measure_point(kind, sample, examination, target, threads)

    short_codes: Sequence[Kind] = ("IVF PQ", "IVF RaBitQ") if len(sample) >= SHORT_CODES_FROM else ()
    lists = [point(kind) for kind in ("IVF SQ8", *short_codes)]
    lists.insert(1, lists[0].model_copy(update={"kind": "IVF SQ8 short"}))
    found = [point("Flat"), *(_extend_to_all(one, around, total, pictures or total, target) for one in lists)]
    if not any(one.recall >= target for one in lists):
        found.append(point("HNSW SQ8"))
    return OperatingPoints(points=tuple(found))


def _measure_point(
    kind: Kind, vectors: Vectors, examination: Examination, target: float, threads: int
) -> OperatingPoint:
    count, dimension = vectors.shape
    key = make_index_key(kind, count, count, dimension)
    trained = train_index(key, vectors, threads=threads)
    index = read_bytes(trained)
    add_vectors(index, vectors, 0, count)
    searched = ShardedIndex([index], threads=threads)
    reached = examination.tune(searched, target)
    searched.threads = 1
    return OperatingPoint(
        kind=kind,
        sample=count,
        recall=reached,
        query_ms=1000 * measure_seconds_per_query(searched, examination.queries, RECALL_AT),
        bytes_per_vector=(len(faiss.serialize_index(index)) - len(trained)) / count + count_bytes_beside(key),
        parameters=str(searched.parameters),
        compared=_count_compared(count, searched.lists or 0, searched.nprobe or 0),
    )


def _extend_to_all(
    point: OperatingPoint, around: Neighbourhoods, total: int, pictures: int, target: float
) -> OperatingPoint:
    """Return the operating point with the number of vectors that a query is compared with in the whole catalogue."""
    lists = count_lists(point.kind, total, pictures)
    nprobe = count_lists_to_visit(around, lists, target)
    return point.model_copy(update={"compared_in_all": _count_compared(total, lists, nprobe)})


def _count_compared(rows: int, lists: int, nprobe: int) -> float:
    """Return with how many vectors, centroids among them, a query is compared."""
    if not lists:
        return float(rows)
    coarse = lists if lists < GRAPH_OF_CENTROIDS_FROM else LINKS * choose_coarse_ef(nprobe)
    return coarse + nprobe * rows / lists
