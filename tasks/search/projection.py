"""The projection from an encoder's vectors to the index's, learnt from the catalogue.

It is PCA with whitening, after Jégou and Chum, "Negative evidences and co-occurences in image retrieval: the benefit of
PCA and whitening", ECCV 2012. Whitening keeps a few dominant directions from deciding every comparison.

Where it is known what distortions change in vectors, these changes are made small first, and alike in all directions.
After Mikolajczyk and Matas, "Improving descriptors for fast tree matching by optimal linear projection", ICCV 2007: the
matching pairs are not labelled here, but made (`lookalike.tasks.images.augmentations`).
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError

SAMPLES_PER_DIMENSION = 4  # with fewer, directions of little variance are noise, which whitening would amplify
MIN_DIMENSION = 32
RIDGE = 1e-3  # of the mean variance, added to each variance: bounds how much whitening amplifies
SHRINKAGE = 1.0  # of what distortions change, as much again in all directions: 0.3 to 3 find the same within 0.003
LEAST_VARIANCE = 1e-12  # a sample of one picture many times has none, and a division by zero must not happen

Vectors = NDArray[np.float32]

_LEAST_LENGTH = np.finfo(np.float32).tiny


class Projection:
    """An affine map followed by L2 normalisation; `matrix` is (out, in + 1), its last column the offset."""

    def __init__(self, matrix: Vectors) -> None:
        self.matrix = matrix

    def __call__(self, vectors: Vectors) -> Vectors:
        """Map (n, in) vectors to (n, out) of length 1."""
        return normalise(self._turn(vectors) + self.matrix[:, -1])

    def turn(self, vectors: Vectors) -> Vectors:
        """Map (n, in) vectors that are centred already to (n, out) of length 1."""
        return normalise(self._turn(vectors))

    def _turn(self, vectors: Vectors) -> Vectors:
        return vectors @ self.matrix[:, :-1].T

    def to_bytes(self) -> bytes:
        """Return the matrix as a `.npy` file."""
        buffer = io.BytesIO()
        np.save(buffer, self.matrix, allow_pickle=False)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, *, inputs: int, outputs: int) -> Projection:
        """Read a `.npy` file. Raises `CorruptError` where it does not map `inputs` to `outputs` dimensions."""
        try:
            matrix = np.load(io.BytesIO(data), allow_pickle=False)
        except ValueError as error:
            raise CorruptError(f"the projection cannot be read: {error}") from error
        if matrix.shape != (outputs, inputs + 1) or matrix.dtype != np.float32:
            raise CorruptError(f"the projection is {matrix.dtype}{matrix.shape}, not float32({outputs}, {inputs + 1})")
        return cls(matrix)


def normalise(vectors: Vectors) -> Vectors:
    """Return (n, d) vectors of length 1; a zero vector stays zero."""
    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))  # `norm` gives the same, and takes longer for one
    return np.ascontiguousarray(vectors / np.maximum(lengths, _LEAST_LENGTH), dtype=np.float32)


def choose_dimension(samples: int, dimension: int, target: int, *, distorted: int = 0) -> int | None:
    """Return how many dimensions `samples` vectors support: `target`, halved until they suffice; None for too few.

    Where it is known what distortions change, of so many pictures, all directions in which the samples differ are
    worth keeping: then it is `target`, halved as long as there are more dimensions than samples.
    """
    wanted = min(target, dimension)
    if distorted:
        while wanted // 2 >= max(samples, MIN_DIMENSION):
            wanted //= 2
        return wanted if wanted >= MIN_DIMENSION else None
    while wanted >= MIN_DIMENSION:
        if samples >= SAMPLES_PER_DIMENSION * wanted:
            return wanted
        wanted //= 2
    return None


def learn(sample: Vectors, outputs: int, differences: Vectors | None = None) -> Projection:
    """Learn a projection from an (n, d) sample.

    Args:
        outputs: the dimensions of the projected vectors.
        differences: (m, d) vectors of distorted pictures minus those of the pictures themselves. Without any it is PCA
            with whitening. With some, the directions that tell pictures apart are found after these were made small,
            and scaled half as strongly as whitening would.
    """
    mean = sample.mean(axis=0, dtype=np.float64)
    centred = sample - mean
    covariance = centred.T @ centred / len(sample)
    if differences is None:
        weights = _find_directions(covariance, outputs, power=1 / 2)
    else:
        steady = _whiten_differences(differences)
        weights = _find_directions(steady @ covariance @ steady, outputs, power=1 / 4) @ steady
    return Projection(np.column_stack([weights, -weights @ mean]).astype(np.float32))


def _find_directions(covariance: NDArray[np.float64], outputs: int, *, power: float) -> NDArray[np.float64]:
    """Return the (outputs, d) directions of most variance, each divided by its variance to a power."""
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1][:outputs], directions[:, ::-1][:, :outputs]
    ridge = max(RIDGE * variances.mean(), LEAST_VARIANCE)
    weights: NDArray[np.float64] = (directions * (np.maximum(variances, 0) + ridge) ** -power).T
    return weights


def _whiten_differences(differences: Vectors) -> NDArray[np.float64]:
    """Return the symmetric (d, d) map after which differences are alike in all directions, as far as they are known."""
    dimension = differences.shape[1]
    scatter = differences.T.astype(np.float64) @ differences
    scatter *= dimension / max(np.trace(scatter), LEAST_VARIANCE)
    variances, directions = np.linalg.eigh(scatter + SHRINKAGE * np.eye(dimension))
    whitened: NDArray[np.float64] = (directions / np.sqrt(np.maximum(variances, LEAST_VARIANCE))) @ directions.T
    return whitened
