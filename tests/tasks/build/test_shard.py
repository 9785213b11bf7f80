"""Building a shard: one batch in memory at a time, explicit ids, and the exact answers found on the way."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from lookalike.data.embeddings import HASH, Embeddings
from lookalike.data.stores.local import LocalStore
from lookalike.tasks.build import shard
from lookalike.tasks.build.planner import Plan
from lookalike.tasks.build.shard import ExactAnswers, build_index, read_vector_batches
from lookalike.tasks.build.train import train
from lookalike.tasks.search.projection import normalise

DIMENSION = 16
COUNT = 900


def plan_for(key: str) -> Plan:
    return Plan(COUNT, COUNT, key, DIMENSION, project=False, shards=1, keep_trained=False, reason="")


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float16]:
    return np.random.default_rng(3).normal(size=(COUNT, DIMENSION)).astype(np.float16)


def build(vectors: NDArray[np.float16], key: str, batch: int, answers: ExactAnswers | None = None) -> faiss.Index:
    _, trained = train([vectors], plan_for(key), threads=1)
    batches = (vectors[start : start + batch] for start in range(0, COUNT, batch))
    return build_index(batches, COUNT, plan_for(key), None, trained, answers, threads=1)


def test_a_batch_is_bounded_where_all_products_show_one_picture(
    vectors: NDArray[np.float16], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard, "ADD_BATCH", 16)
    embeddings = Embeddings(LocalStore(tmp_path), "f")
    hashes = [bytes([number]) * 32 for number in (3, 200)]
    embeddings.write(hashes, vectors[:2].astype(np.float32))
    products = pa.table({"image_hash": pa.array([hashes[0]] * 60 + [hashes[1]] * 2, HASH)})
    batches = list(read_vector_batches(products, embeddings, 0, 2**32))
    assert max(map(len, batches)) == 16
    np.testing.assert_array_equal(np.concatenate(batches), vectors[[0] * 60 + [1] * 2])


@pytest.mark.parametrize("key", ["Flat", "IVF8,RaBitQfs,Refine(SQ8)"])
def test_beside_the_index_there_is_one_batch_in_memory(key: str, vectors: NDArray[np.float16]) -> None:
    """A worker's memory is that of its shard, whatever the catalogue."""
    given: list[weakref.ref[NDArray[np.float16]]] = []

    def batches() -> Iterator[NDArray[np.float16]]:
        for start in range(0, COUNT, 100):
            assert sum(one() is not None for one in given) <= 1
            batch = vectors[start : start + 100].copy()
            given.append(weakref.ref(batch))
            yield batch
            del batch

    _, trained = train([vectors], plan_for(key), threads=1)
    answers = ExactAnswers(normalise(vectors[:5].astype(np.float32)), 10)
    index = build_index(batches(), COUNT, plan_for(key), None, trained, answers, threads=1)
    assert index.ntotal == COUNT
    assert len(given) == COUNT // 100


@pytest.mark.parametrize("key", ["Flat", "IVF8,SQ8", "IVF8,RaBitQfs,Refine(SQ8)"])
def test_how_vectors_are_cut_into_batches_changes_nothing(key: str, vectors: NDArray[np.float16]) -> None:
    """A graph is the exception: FAISS inserts the vectors of a batch by level, so the same cuts give the same graph."""
    one, many = (faiss.serialize_index(build(vectors, key, batch)).tobytes() for batch in (COUNT, 128))
    assert one == many


def test_lists_hold_each_row_once_under_its_own_number(vectors: NDArray[np.float16]) -> None:
    index = build(vectors, "IVF8,SQ8", 128)
    lists = index.invlists
    ids = [faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number)) for number in range(8)]
    assert sorted(np.concatenate(ids).tolist()) == list(range(COUNT))
    assert ids[0].dtype == np.int64


@pytest.mark.parametrize("batch", [3, 128, COUNT])
def test_exact_answers_are_those_of_one_search(batch: int, vectors: NDArray[np.float16]) -> None:
    ready = normalise(vectors.astype(np.float32))
    answers = ExactAnswers(ready[:7], 20)
    build(vectors, "Flat", batch, answers)
    scores, rows = faiss.knn(ready[:7], ready, 20, metric=faiss.METRIC_INNER_PRODUCT)
    np.testing.assert_array_equal(answers.neighbours.rows, rows)
    np.testing.assert_allclose(answers.neighbours.scores, scores, atol=1e-6)
