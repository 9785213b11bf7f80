"""Clusters of clusters are about as good as clusters, and there are as many as asked for, whatever the vectors."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from lookalike.tasks.build.train import learn_centroids
from lookalike.tasks.search.projection import Vectors, normalise


def clustered(count: int, clusters: int, seed: int = 0) -> Vectors:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((clusters, 24), np.float32)
    return normalise(
        centres[random.integers(0, clusters, count)] + 0.3 * random.standard_normal((count, 24), np.float32)
    )


@pytest.mark.parametrize("count", [1, 2, 7, 64, 500, 2000])
def test_as_many_as_asked_for_each_of_length_one(count: int) -> None:
    found = learn_centroids(clustered(2000, 60), count)

    assert found.shape == (count, 24)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_the_same_each_time() -> None:
    first, second = (learn_centroids(clustered(3000, 100), 128) for _ in range(2))

    np.testing.assert_array_equal(first, second)


def test_vectors_lie_about_as_near_to_them_as_to_those_of_one_k_means() -> None:
    vectors = clustered(6000, 200)
    plain = faiss.Kmeans(24, 256, niter=10, spherical=True, seed=1)
    plain.train(vectors)

    nearest = [(vectors @ some.T).max(axis=1).mean() for some in (learn_centroids(vectors, 256), plain.centroids)]

    assert nearest[0] > 0.97 * nearest[1]


def test_one_picture_a_thousand_times_takes_no_more_than_its_share() -> None:
    vectors = np.concatenate([np.repeat(clustered(1, 1), 1000, axis=0), clustered(1000, 50, seed=2)])

    found = learn_centroids(vectors, 100)

    assert found.shape == (100, 24)
    assert np.isfinite(found).all()
