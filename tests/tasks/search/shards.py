"""Shards of made vectors, of every kind of index, and what an exact search of them finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import faiss
import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.build.planner import Plan
from lookalike.tasks.build.shard import build_index
from lookalike.tasks.build.train import train
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.neighbours import Neighbours
from lookalike.tasks.search.projection import normalise

DIMENSION = 32
LISTS = ["IVF16,SQ8", "IVF16,PQ8x4fs,Refine(SQ8)", "IVF16,RaBitQfs,Refine(SQ8)", "IVF16_HNSW8,RaBitQfs,Refine(SQ8)"]
KEYS = ["Flat", *LISTS, "HNSW16,SQ8"]
SHORT = [key for key in LISTS if "Refine" in key]  # those with short codes


def plan_for(key: str) -> Plan:
    return Plan(3000, 3000, key, DIMENSION, project=False, shards=3, keep_trained=False, reason="")


@lru_cache
def some_vectors() -> NDArray[np.float32]:
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(40, DIMENSION))
    return normalise((centres[rng.integers(0, 40, 3000)] + 0.4 * rng.normal(size=(3000, DIMENSION))).astype(np.float32))


@lru_cache  # training takes most of a test's time
def trained_index(key: str, start: int, stop: int) -> bytes | None:
    return train([some_vectors()[start:stop].astype(np.float16)], plan_for(key), threads=1)[1]


def batches(vectors: NDArray[np.float16]) -> Iterator[NDArray[np.float16]]:
    return (vectors[start : start + 700] for start in range(0, len(vectors), 700))


def built(
    vectors: NDArray[np.float32], key: str, cuts: Sequence[int] = (1000, 1001), learnt: tuple[int, int] = (0, 3000)
) -> list[faiss.Index]:
    """Shards of vectors, trained on a range of all."""
    trained = trained_index(key, *learnt)
    parts = np.split(vectors.astype(np.float16), cuts)
    return [build_index(batches(part), len(part), plan_for(key), None, trained, threads=1) for part in parts]


def sharded(vectors: NDArray[np.float32], key: str, cuts: Sequence[int] = (1000, 1001)) -> ShardedIndex:
    return ShardedIndex(built(vectors, key, cuts))


def exact(vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int) -> Neighbours:
    scores, rows = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    return Neighbours(scores, rows)


def overlap(
    found: Neighbours,
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    k: int = 10,
) -> float:
    """Return the share of the exact answers that were found; nothing else may be among them."""
    assert allowed[found.rows[found.rows >= 0]].all()
    rows = allowed.nonzero()[0]
    wanted = exact(vectors[rows], queries, min(k, len(rows)))
    shares = [
        len(set(found.rows[i].tolist()) & set(rows[wanted.rows[i]].tolist())) / wanted.rows.shape[1]
        for i in range(len(queries))
    ]
    return float(np.mean(shares))
