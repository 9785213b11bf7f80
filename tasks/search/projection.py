"""The projection from an encoder's vectors to the index's: PCA with whitening, learnt from the catalogue.

After Jégou and Chum, "Negative evidences and co-occurences in image retrieval: the benefit of PCA and
whitening", ECCV 2012. Whitening keeps a few dominant directions from deciding every comparison.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError

SAMPLES_PER_DIMENSION = 4  # with fewer, directions of little variance are noise, which whitening would amplify
MIN_DIMENSION = 32
RIDGE = 1e-3  # of the mean variance, added to each variance: bounds how much whitening amplifies
LEAST_VARIANCE = 1e-12  # a sample of one picture many times has none, and a division by zero must not happen

Vectors = NDArray[np.float32]


class Projection:
    """An affine map followed by L2 normalisation; `matrix` is (out, in + 1), its last column the offset."""

    def __init__(self, matrix: Vectors) -> None:
        self.matrix = matrix

    def __call__(self, vectors: Vectors) -> Vectors:
        """Map (n, in) vectors to (n, out) of length 1."""
        return normalise(vectors @ self.matrix[:, :-1].T + self.matrix[:, -1])

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
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)


def choose_dimension(samples: int, dimension: int, target: int) -> int | None:
    """Return how many dimensions `samples` vectors support: `target`, halved until they suffice; None for too few."""
    wanted = min(target, dimension)
    while wanted >= MIN_DIMENSION:
        if samples >= SAMPLES_PER_DIMENSION * wanted:
            return wanted
        wanted //= 2
    return None


def learn(sample: Vectors, outputs: int) -> Projection:
    """Learn PCA with whitening from an (n, d) sample."""
    mean = sample.mean(axis=0, dtype=np.float64)
    centred = sample - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(sample))
    variances, directions = variances[::-1][:outputs], directions[:, ::-1][:, :outputs]
    ridge = max(RIDGE * variances.mean(), LEAST_VARIANCE)
    scale = 1 / np.sqrt(np.maximum(variances, 0) + ridge)
    weights = (directions * scale).T
    return Projection(np.column_stack([weights, -weights @ mean]).astype(np.float32))
