"""Neighbourhoods keep the neighbours that vectors have in the whole catalogue; a random sample does not."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.indexing.neighbourhoods import neighbourhoods, split
from tasks.indexing.projection import Vectors, normalise

TOTAL = 20_000


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    """A thousand products of about twenty pictures each."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((1000, 32), np.float32)
    return normalise(centres[random.integers(0, 1000, TOTAL)] + 0.3 * random.standard_normal((TOTAL, 32), np.float32))


def tenth(queries: Vectors, others: Vectors) -> Vectors:
    """Return how near the tenth neighbour of each query is."""
    nearest: Vectors = np.sort(queries @ others.T, axis=1)[:, -10]
    return nearest


def test_the_nearest_come_first_however_they_are_batched(vectors: Vectors) -> None:
    for parts in (1, 7):
        (found,) = neighbourhoods(vectors[5:6], np.array_split(vectors, parts), 300)

        np.testing.assert_array_equal(found.rows, np.argsort(-(vectors @ vectors[5]), kind="stable")[:300])
        np.testing.assert_array_equal(found.vectors, vectors[found.rows])


def test_queries_have_the_neighbours_that_they_have_in_the_whole(vectors: Vectors) -> None:
    found = neighbourhoods(vectors[:8], np.array_split(vectors, 5), 200)

    queries, others = split(found, 80)

    assert len(np.unique(np.concatenate([queries, others]), axis=0)) == len(queries) + len(others) <= 1600
    assert len(queries) == 80
    asked = {query.tobytes() for query in queries}
    rest = np.stack([vector for vector in vectors if vector.tobytes() not in asked])
    assert np.isclose(tenth(queries, others), tenth(queries, rest), atol=1e-6).mean() > 0.95
    random = rest[np.random.default_rng(1).permutation(len(rest))[: len(others)]]
    assert tenth(queries, random).mean() < tenth(queries, rest).mean() - 0.1


def test_of_a_small_catalogue_each_vector_is_taken_once(vectors: Vectors) -> None:
    queries, others = split(neighbourhoods(vectors[:4], [vectors[:500]], 1000), 40)

    assert 10 <= len(queries) <= 40
    assert len(queries) + len(others) == 500
