"""Training: the parts that all shards share, learnt once from one unbiased sample."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

import faiss
import numpy as np
from numpy.typing import NDArray

from lookalike.tasks.build.planner import SAMPLES_PER_LIST, TRAINING_SAMPLE, Plan
from lookalike.tasks.search.faiss_io import use_threads
from lookalike.tasks.search.projection import Projection, Vectors, learn, normalise

ITERATIONS = 10

MOST_SAMPLES = 2**19  # half a gigabyte in 256 dimensions
CODES_SAMPLE = 65_536  # vectors to learn the codes in the lists from
PROJECTED_AT_A_TIME = 16_384
ASSIGN_EF = 32  # `efSearch` for finding a vector's list in the graph of centroids
EF_CONSTRUCTION = 80
_GRAPH_OF_CENTROIDS = re.compile(r"^(IVF\d+)_HNSW(\d+)")


def learn_centroids(vectors: Vectors, count: int) -> Vectors:
    """Return (count, d) centroids, of length 1, of (n, d) vectors; n is at least `count`. The result is deterministic.

    k-means over all vectors at once takes n times `count` steps. This function splits the vectors into about √count
    clusters, and each cluster again, in proportion to its size; that takes √count times fewer steps. FAISS's own
    `two_level_clustering` works alike, but fails where a cluster has fewer vectors than centroids.
    """
    split = _run_k_means(vectors, math.isqrt(count))
    nearest = split.index.search(vectors, 1)[1].ravel()
    sizes = np.bincount(nearest, minlength=split.k)
    parts = [
        _split_cluster(vectors[nearest == number], int(share), split.centroids[number])
        for number, share in enumerate(_share_centroids(sizes, count))
    ]
    return normalise(np.concatenate(parts))


def _split_cluster(vectors: Vectors, count: int, centroid: Vectors) -> Vectors:
    if count <= 1:
        return np.repeat(centroid[None], count, axis=0)
    return np.asarray(_run_k_means(vectors, count).centroids)


def _run_k_means(vectors: Vectors, count: int) -> faiss.Kmeans:
    found = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=ITERATIONS,
        spherical=True,
        seed=1,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),  # no subsampling: each centroid has few vectors already
    )
    found.train(np.ascontiguousarray(vectors))
    return found


def _share_centroids(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return how many of `count` centroids each cluster gets: in proportion to its size, and never more than that."""
    shares: NDArray[np.int64] = np.diff(np.cumsum(sizes) * count // sizes.sum(), prepend=0)
    return shares


def choose_sample_size(plan: Plan) -> int:
    """Return how many pictures to learn from, if the catalogue has so many."""
    lists = re.match(r"IVF(\d+)", plan.key)
    return max(TRAINING_SAMPLE, min(MOST_SAMPLES, SAMPLES_PER_LIST * int(lists[1])) if lists else 0)


def train(
    sample: Iterable[NDArray[np.float16]], plan: Plan, differences: Vectors | None = None, *, threads: int
) -> tuple[Projection | None, bytes | None]:
    """Learn from a sample of the encoder's vectors, (n, d) at a time. The same sample and threads give the same bytes.

    Only the vectors that the projection is learnt from are in memory at full length; all of them are there as
    projected.

    Args:
        differences: (m, d) of distorted pictures from the pictures themselves; None for PCA with whitening alone.

    Returns:
        The projection, None where the plan has none, and the serialised empty trained index, None where the index
        type needs no training.
    """
    use_threads(threads)
    parts = iter(sample)
    first = _read_first(parts, TRAINING_SAMPLE)
    projection = None
    if plan.project:
        projection = learn(first[:TRAINING_SAMPLE].astype(np.float32), plan.dimension, differences)
    if create_index(plan).is_trained:
        return projection, None
    ready = [project(first, projection)]
    del first
    ready += [project(part, projection) for part in parts]
    return projection, train_index(plan.key, join_parts(ready), threads=threads)


def _read_first(parts: Iterator[NDArray[np.float16]], count: int) -> NDArray[np.float16]:
    """Read parts until there are at least `count` vectors, or no more parts; return them as one array."""
    taken = [next(parts)]
    while sum(map(len, taken)) < count and (following := next(parts, None)) is not None:
        taken.append(following)
    return np.concatenate(taken)


def project(sample: NDArray[np.float16], projection: Projection | None) -> Vectors:
    """Return (n, d) encoder vectors as they are indexed: projected, or normalised. Done in parts, to bound memory."""
    parts = [
        sample[start : start + PROJECTED_AT_A_TIME].astype(np.float32)
        for start in range(0, len(sample), PROJECTED_AT_A_TIME)
    ]
    return np.concatenate([projection(part) if projection else normalise(part) for part in parts])


def join_parts(parts: list[Vectors]) -> Vectors:
    """Concatenate arrays (n, d), and free each part once it is copied: keeping all would take twice the memory."""
    every = np.empty((sum(map(len, parts)), parts[0].shape[1]), np.float32)
    stop = len(every)
    while parts:
        part = parts.pop()
        every[stop - len(part) : stop] = part
        stop -= len(part)
    return every


def train_index(key: str, vectors: Vectors, *, threads: int) -> bytes:
    """Return the serialised empty index of a key, trained on projected (n, dimension) vectors."""
    use_threads(threads)
    graph = _GRAPH_OF_CENTROIDS.match(key)
    index = _create_index(_GRAPH_OF_CENTROIDS.sub(r"\1", key), vectors.shape[1])
    if graph:
        lists = faiss.downcast_index(index.base_index) if isinstance(index, faiss.IndexRefine) else index
        _link_centroids(lists, learn_centroids(vectors, lists.nlist), int(graph[2]))
        vectors = vectors[:CODES_SAMPLE]
    use_threads(threads)
    index.train(vectors)
    return bytes(faiss.serialize_index(index).tobytes())


def create_index(plan: Plan) -> faiss.Index:
    """Create an empty index of the plan's type, for inner products."""
    return _create_index(plan.key, plan.dimension)


def _create_index(key: str, dimension: int) -> faiss.Index:
    index = faiss.index_factory(dimension, key, faiss.METRIC_INNER_PRODUCT)
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efConstruction = EF_CONSTRUCTION
    return index


def _link_centroids(lists: faiss.IndexIVF, known: Vectors, links: int) -> None:
    """Give the lists their centroids, and link these in a graph; by one thread, so that the graph is deterministic."""
    use_threads(1)
    flat = faiss.downcast_index(lists.quantizer)
    graph = faiss.IndexHNSWFlat(lists.d, links, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = EF_CONSTRUCTION
    graph.hnsw.efSearch = ASSIGN_EF
    graph.add(known)
    lists.quantizer = graph
    graph.this.disown()  # the lists own their quantiser
    flat.this.own(True)
