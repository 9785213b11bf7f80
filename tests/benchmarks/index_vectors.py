"""Vectors that lie as embeddings do: clusters of power-law sizes in a subspace, with noise around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

BATCH = 16_384


@dataclass(frozen=True)
class Clusters:
    """A distribution to draw from; the same seed gives the same vectors.

    Attributes:
        count: clusters; the i-th largest is drawn i ** -0.5 times as often as the largest.
        rank: dimensions of the subspace in which they lie.
        spread: how far a cluster's vectors are from its centre, where centres are 1 apart from the middle.
        noise: the same in all dimensions.
    """

    dimension: int = 256
    count: int = 20_000
    rank: int = 64
    spread: float = 0.5
    noise: float = 0.2

    def draw(self, number: int, seed: int) -> Vectors:
        """Return (number, dimension) vectors of length 1."""
        return np.concatenate(list(self.batches(number, seed)))

    def draw_labelled(self, number: int, seed: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Return the same, and the (number,) clusters that they lie in."""
        vectors, clusters = zip(*self._parts(number, seed), strict=True)
        return np.concatenate(vectors), np.concatenate(clusters)

    def batches(self, number: int, seed: int) -> Iterator[Vectors]:
        """Yield the same a part at a time."""
        for vectors, _ in self._parts(number, seed):
            yield vectors

    def _parts(self, number: int, seed: int) -> Iterator[tuple[Vectors, NDArray[np.int64]]]:
        random = np.random.default_rng(seed)
        for start in range(0, number, BATCH):
            yield self._some(min(BATCH, number - start), random)

    def _some(self, number: int, random: np.random.Generator) -> tuple[Vectors, NDArray[np.int64]]:
        cluster = np.searchsorted(self._shares, random.random(number, np.float32))
        inside = self._centres[cluster] + self.spread * random.standard_normal((number, self.rank), np.float32)
        vectors: Vectors = inside @ self._basis
        vectors += self.noise * random.standard_normal(vectors.shape, np.float32) * np.sqrt(self.rank / self.dimension)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors, cluster

    @cached_property
    def _centres(self) -> Vectors:
        return np.random.default_rng(0).standard_normal((self.count, self.rank), np.float32)

    @cached_property
    def _basis(self) -> Vectors:
        square = np.random.default_rng(1).standard_normal((self.dimension, self.rank))
        return np.ascontiguousarray(np.linalg.qr(square)[0].T, np.float32)

    @cached_property
    def _shares(self) -> NDArray[np.float32]:
        sizes = np.arange(1, self.count + 1) ** -0.5
        upper: NDArray[np.float32] = (np.cumsum(sizes) / sizes.sum()).astype(np.float32)
        return upper[:-1]  # of the last one it is 1, which no draw reaches
