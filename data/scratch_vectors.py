"""Vectors in a scratch file, for what is read once and wanted in several parts."""

from __future__ import annotations

import tempfile
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray


class ScratchVectors:
    """The vectors of hashes; in memory there are the hashes alone. The file goes at the end of the block."""

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile(prefix="lookalike-vectors-")
        self._parts: list[NDArray[np.bytes_]] = []
        self._dimension = 0
        self._sorted: tuple[NDArray[np.bytes_], NDArray[np.int64]] | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, hashes: NDArray[np.bytes_], vectors: NDArray[np.float16]) -> None:
        """Append the (n, d) vectors of (n,) hashes; nothing may be taken before the last ones."""
        if len(hashes):
            self._parts.append(hashes)
            self._dimension = vectors.shape[1]
            self._file.write(np.ascontiguousarray(vectors).data)

    def take(self, wanted: NDArray[np.bytes_]) -> tuple[NDArray[np.bytes_], NDArray[np.float16]]:
        """Return those of (m,) sorted hashes that are there, sorted, and their vectors."""
        if not self._parts or not len(wanted):
            return np.empty(0, "V32"), np.empty((0, 0), np.float16)
        if self._sorted is None:
            every = np.concatenate(self._parts)
            order = np.argsort(every)
            self._sorted = every[order], order
            self._file.flush()
        hashes, rows = self._sorted
        places = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
        there = hashes[places] == wanted
        vectors: NDArray[np.float16] = self._mapped(len(hashes))[rows[places[there]]]
        return wanted[there], vectors

    def _mapped(self, count: int) -> NDArray[np.float16]:
        return np.memmap(self._file, np.float16, "r", shape=(count, self._dimension))
