"""Training: the same bytes each time, from a sample that is large enough and unbiased."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from lookalike.tasks.build import train as training
from lookalike.tasks.build.planner import KINDS, Plan
from lookalike.tasks.build.shard import build_index
from lookalike.tasks.build.train import choose_sample_size, train, train_index
from lookalike.tasks.search.faiss_io import read_bytes

DIMENSION = 16
KEYS = [
    "Flat",
    "IVF8,SQ8",
    "IVF16_HNSW4,SQ8",
    "IVF8,PQ4x4fs,Refine(SQ8)",
    "IVF8_HNSW4,RaBitQfs,Refine(SQ8)",
    "HNSW8,SQ8",
]


def plan_for(key: str) -> Plan:
    return Plan(600, 600, key, DIMENSION, project=True, shards=1, keep_trained=False, reason="")


def sample() -> np.ndarray[tuple[int, int], np.dtype[np.float16]]:
    return np.random.default_rng(3).normal(size=(600, 24)).astype(np.float16)


@pytest.mark.parametrize("key", KEYS)
def test_a_build_that_is_done_again_gives_the_same_bytes(key: str) -> None:
    """A run that was killed makes the same snapshot, even with several threads."""
    built = []
    for _ in range(2):
        projection, trained = train([sample()], plan_for(key), threads=2)
        index = build_index([sample()], 600, plan_for(key), projection, trained, threads=2)
        built.append(faiss.serialize_index(index).tobytes())
    assert built[0] == built[1]


def test_the_keys_are_of_all_kinds() -> None:
    assert len(KEYS) == len(KINDS)


def test_a_graph_finds_the_nearest_centroids() -> None:
    _, trained = train([sample()], plan_for("IVF8_HNSW4,RaBitQfs,Refine(SQ8)"), threads=1)
    assert trained
    index = read_bytes(trained)
    quantizer = faiss.downcast_index(faiss.downcast_index(index.base_index).quantizer)
    assert isinstance(quantizer, faiss.IndexHNSWFlat)
    centroids = quantizer.reconstruct_n(0, 8)
    queries = np.random.default_rng(4).standard_normal((50, DIMENSION), np.float32)
    np.testing.assert_array_equal(quantizer.search(queries, 1)[1][:, 0], np.argmax(queries @ centroids.T, axis=1))


@pytest.mark.parametrize("key", KEYS)
def test_what_comes_in_parts_is_learnt_from_alike(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TRAINING_SAMPLE", 350)
    whole, parts = (train(some, plan_for(key), threads=1) for some in ([sample()], np.array_split(sample(), 5)))
    assert whole[0]
    assert parts[0]
    assert whole[0].to_bytes() == parts[0].to_bytes()
    assert whole[1] == parts[1]


@pytest.mark.slow
def test_many_lists_are_learnt_at_once() -> None:
    vectors = np.random.default_rng(3).standard_normal((8192, 24), np.float32)
    index = read_bytes(train_index("IVF2048_HNSW4,SQ8", vectors, threads=2))
    assert (index.is_trained, index.nlist, index.quantizer.ntotal) == (True, 2048, 2048)
    index.add(vectors)
    index.nprobe = 16
    assert (index.search(vectors[:100], 1)[1][:, 0] == np.arange(100)).mean() > 0.9


def test_exact_search_needs_no_training() -> None:
    assert train([sample()], plan_for("Flat"), threads=1)[1] is None


@pytest.mark.parametrize(
    ("key", "size"),
    [("Flat", 65_536), ("IVF1024,SQ8", 65_536), ("IVF8192_HNSW32,SQ8", 131_072), ("IVF65536_HNSW32,SQ8", 524_288)],
)
def test_more_lists_are_learnt_from_more_vectors(key: str, size: int) -> None:
    assert choose_sample_size(plan_for(key)) == size
