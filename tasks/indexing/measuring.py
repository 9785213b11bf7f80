"""Measuring: the operating points of every kind of index on a sample of a catalogue."""

from __future__ import annotations

from collections.abc import Iterable

import faiss
import numpy as np
from numpy.typing import NDArray

from tasks.indexing.building import ExactAnswers, add, read_trained
from tasks.indexing.candidates import QUICK, Kind, index_key
from tasks.indexing.evaluating import EXACT_DEPTH, RECALL_AT, Examination, seconds_per_query
from tasks.indexing.neighbourhoods import neighbourhoods, split
from tasks.indexing.operating_points import OperatingPoint, OperatingPoints
from tasks.indexing.searching import ShardedIndex
from tasks.indexing.threads import use_threads
from tasks.indexing.training import train_index

NEIGHBOURHOODS = 16
VECTORS = 4096  # in each
SAMPLE = NEIGHBOURHOODS * VECTORS
QUERIES = 300
LOOKED_AT = 2_000_000  # vectors, to find neighbourhoods among: reading more takes longer than it tells

Vectors = NDArray[np.float32]


def measure(drawn: Vectors, batches: Iterable[Vectors], target: float, *, threads: int) -> OperatingPoints:
    """Tune each kind of index to a target recall@10, over what lies around a few of the vectors.

    Queries are vectors in the middle of these neighbourhoods, and in no index. A graph takes many times as long to
    build as lists do, and each reindex builds its shards anew: it is measured, and so chosen, only where no kind of
    lists reaches the target.

    Args:
        drawn: (n, d) of the vectors, at random.
        batches: all of them, some at a time.
    """
    use_threads(threads)
    centres = drawn[np.random.default_rng(0).permutation(len(drawn))[:NEIGHBOURHOODS]]
    queries, vectors = split(neighbourhoods(centres, batches, VECTORS), QUERIES)
    answers = ExactAnswers(queries, EXACT_DEPTH)
    answers.add(vectors, 0)
    examination = Examination(queries, answers.neighbours)
    points = [_point(kind, vectors, examination, target, threads) for kind in QUICK]
    if not any(point.recall >= target for point in points if point.kind != "Flat"):
        points.append(_point("HNSW SQ8", vectors, examination, target, threads))
    return OperatingPoints(points=tuple(points))


def _point(kind: Kind, vectors: Vectors, examination: Examination, target: float, threads: int) -> OperatingPoint:
    trained = train_index(index_key(kind, *vectors.shape), vectors, threads=threads)
    index = read_trained(trained)
    add(index, vectors, 0, len(vectors))
    searched = ShardedIndex([index], threads=threads)
    reached = examination.tune(searched, target)
    searched.threads = 1
    return OperatingPoint(
        kind=kind,
        sample=len(vectors),
        recall=reached,
        query_ms=1000 * seconds_per_query(searched, examination.queries, RECALL_AT),
        bytes_per_vector=(len(faiss.serialize_index(index)) - len(trained)) / len(vectors),
        parameters=str(searched.parameters),
    )
