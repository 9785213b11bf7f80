"""Centroids: many of them, learnt in seconds as clusters of clusters."""

from __future__ import annotations

import math

import faiss
import numpy as np
from numpy.typing import NDArray

from tasks.indexing.projection import Vectors, normalise

ITERATIONS = 10


def centroids(vectors: Vectors, count: int) -> Vectors:
    """Return (count, d) centroids of length 1 of (n, d) vectors, n at least `count`; the same for the same vectors.

    k-means over all at once takes n times `count` steps. This one splits the vectors into about √count clusters, and
    each of these into as many as is its share of the vectors, which takes √count times fewer; FAISS's own
    `two_level_clustering` works likewise, but fails where a cluster is too small for a share.
    """
    split = _k_means(vectors, math.isqrt(count))
    nearest = split.index.search(vectors, 1)[1].ravel()
    sizes = np.bincount(nearest, minlength=split.k)
    parts = [
        _part(vectors[nearest == number], int(share), split.centroids[number])
        for number, share in enumerate(_shares(sizes, count))
    ]
    return normalise(np.concatenate(parts))


def _part(vectors: Vectors, count: int, centroid: Vectors) -> Vectors:
    if count <= 1:
        return np.repeat(centroid[None], count, axis=0)
    return np.asarray(_k_means(vectors, count).centroids)


def _k_means(vectors: Vectors, count: int) -> faiss.Kmeans:
    found = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=ITERATIONS,
        spherical=True,
        seed=1,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),  # all of them: there are few for each already
    )
    found.train(np.ascontiguousarray(vectors))
    return found


def _shares(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return how many of `count` centroids each cluster gets, by its size and never more than it has vectors."""
    shares: NDArray[np.int64] = np.diff(np.cumsum(sizes) * count // sizes.sum(), prepend=0)
    return shares
