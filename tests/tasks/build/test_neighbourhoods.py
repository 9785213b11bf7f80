"""How many lists hold the neighbours that vectors have in the whole catalogue, as an index then finds."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import faiss
import numpy as np
import pytest

from lookalike.tasks.build.measure import count_lists_to_visit, find_neighbourhoods
from lookalike.tasks.build.train import train_index
from lookalike.tasks.search.faiss_io import read_bytes
from lookalike.tasks.search.projection import Vectors, normalise

TOTAL = 20_000


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    """A thousand products of about twenty pictures each."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((1000, 32), np.float32)
    return normalise(centres[random.integers(0, 1000, TOTAL)] + 0.3 * random.standard_normal((TOTAL, 32), np.float32))


@pytest.mark.parametrize("parts", [1, 7])
def test_the_nearest_of_all_without_the_query_itself(vectors: Vectors, parts: int) -> None:
    found = find_neighbourhoods(vectors[5:9], np.array_split(vectors, parts), 10, 3000)

    order = np.argsort(-(vectors[5:9] @ vectors.T), axis=1, kind="stable")[:, 1:11]
    np.testing.assert_array_equal(found.nearest, vectors[order])
    np.testing.assert_array_equal(found.sample, vectors[:3000])


def test_a_query_that_is_not_among_them_keeps_its_nearest(vectors: Vectors) -> None:
    found = find_neighbourhoods(vectors[5:9], np.array_split(vectors[9:], 3), 10, 100)

    order = np.argsort(-(vectors[5:9] @ vectors[9:].T), axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(found.nearest, vectors[9:][order])


@pytest.mark.parametrize("lists", [64, 1024])
def test_an_index_reaches_the_recall_with_as_many_lists(vectors: Vectors, lists: int) -> None:
    queries, rest = vectors[:300], vectors[300:]

    visited = count_lists_to_visit(find_neighbourhoods(queries, [vectors], 10, TOTAL), lists, 0.95)

    index = read_bytes(train_index(f"IVF{lists},Flat", rest, threads=1))
    index.add(rest)
    exact = faiss.knn(queries, rest, 10, metric=faiss.METRIC_INNER_PRODUCT)[1]

    def recall(nprobe: int) -> float:
        index.nprobe = nprobe
        return float((index.search(queries, 10)[1][:, :, None] == exact[:, None]).any(axis=2).mean())

    least = next(nprobe for nprobe in range(1, lists) if recall(nprobe) >= 0.95)
    assert least <= visited + 1
    assert visited <= least + max(2, least // 4)


def test_more_lists_than_vectors_are_all_visited(vectors: Vectors) -> None:
    assert count_lists_to_visit(find_neighbourhoods(vectors[:5], [vectors[:100]], 10, 100), 128, 0.95) == 128


def test_only_the_sample_is_kept_of_the_batches(vectors: Vectors) -> None:
    watched: list[weakref.ref[Vectors]] = []

    def batches() -> Iterator[Vectors]:
        for number in range(4):
            assert not any(one() is not None for one in watched[:-1])  # the last one is still being looked at
            batch = vectors[5000 * number :][:5000].copy()
            watched.append(weakref.ref(batch))
            yield batch
            del batch

    assert len(find_neighbourhoods(vectors[:2], batches(), 10, 100).sample) == 100
