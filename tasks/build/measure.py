"""Measuring: the operating points of every kind of index, on a sample of a catalogue and for all of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from tasks.indexing.building import ExactAnswers, add
from tasks.indexing.candidates import (
    GRAPH_OF_CENTROIDS_FROM,
    LINKS,
    SHORT_CODES_FROM,
    Kind,
    bytes_beside,
    index_key,
    lists_of,
)
from tasks.indexing.evaluating import EXACT_DEPTH, RECALL_AT, Examination, seconds_per_query
from tasks.indexing.inverted import coarse_ef
from tasks.indexing.neighbourhoods import Neighbourhoods, lists_to_visit, neighbourhoods
from tasks.indexing.operating_points import OperatingPoint, OperatingPoints
from tasks.indexing.reading import read_bytes
from tasks.indexing.searching import ShardedIndex
from tasks.indexing.threads import use_threads
from tasks.indexing.training import train_index

SAMPLE = 32_768
QUERIES = 300
KEPT = 2**18  # vectors, to learn centroids from
LOOKED_AT = 2_000_000  # vectors, to find neighbours among: reading more takes longer than it tells

Vectors = NDArray[np.float32]


def split(pictures: int) -> tuple[int, int]:
    """Return how many of so many pictures to measure with, and how many others to look for among them."""
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

    How many lists it would have to visit in the whole catalogue is told by where the queries' neighbours lie there. A
    graph takes many times as long to build as lists do, and each reindex builds its shards anew: it is measured, and
    so chosen, only where no kind of lists reaches the target.

    Args:
        batches: the vectors of all pictures, or of many, some at a time; the queries may be among them.
        total: how many products there are.
        pictures: how many different ones they show; by default each its own.
    """
    use_threads(threads)
    around = neighbourhoods(queries, batches, RECALL_AT, KEPT)
    answers = ExactAnswers(queries, EXACT_DEPTH)
    answers.add(sample, np.arange(len(sample)))
    examination = Examination(queries, answers.neighbours)

    def point(kind: Kind) -> OperatingPoint:
        return _point(kind, sample, examination, target, threads)

    short_codes: Sequence[Kind] = ("IVF PQ", "IVF RaBitQ") if len(sample) >= SHORT_CODES_FROM else ()
    lists = [point(kind) for kind in ("IVF SQ8", *short_codes)]
    lists.insert(1, lists[0].model_copy(update={"kind": "IVF SQ8 short"}))
    found = [point("Flat"), *(_in_all(one, around, total, pictures or total, target) for one in lists)]
    if not any(one.recall >= target for one in lists):
        found.append(point("HNSW SQ8"))
    return OperatingPoints(points=tuple(found))


def _point(kind: Kind, vectors: Vectors, examination: Examination, target: float, threads: int) -> OperatingPoint:
    count, dimension = vectors.shape
    key = index_key(kind, count, count, dimension)
    trained = train_index(key, vectors, threads=threads)
    index = read_bytes(trained)
    add(index, vectors, 0, count)
    searched = ShardedIndex([index], threads=threads)
    reached = examination.tune(searched, target)
    searched.threads = 1
    return OperatingPoint(
        kind=kind,
        sample=count,
        recall=reached,
        query_ms=1000 * seconds_per_query(searched, examination.queries, RECALL_AT),
        bytes_per_vector=(len(faiss.serialize_index(index)) - len(trained)) / count + bytes_beside(key),
        parameters=str(searched.parameters),
        compared=_compared(count, searched.lists or 0, searched.nprobe or 0),
    )


def _in_all(point: OperatingPoint, around: Neighbourhoods, total: int, pictures: int, target: float) -> OperatingPoint:
    """Return an operating point with what it takes in the whole catalogue."""
    lists = lists_of(point.kind, total, pictures)
    nprobe = lists_to_visit(around, lists, target)
    return point.model_copy(update={"compared_in_all": _compared(total, lists, nprobe)})


def _compared(rows: int, lists: int, nprobe: int) -> float:
    """Return with how many vectors a query is compared, centroids among them."""
    if not lists:
        return float(rows)
    coarse = lists if lists < GRAPH_OF_CENTROIDS_FROM else LINKS * coarse_ef(nprobe)
    return coarse + nprobe * rows / lists
