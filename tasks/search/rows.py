"""Rows: which of an index's a search may find."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray


class Rows:
    """All rows of an index, or those of a mask (size,). Safe to share between searches."""

    def __init__(self, size: int, mask: NDArray[np.bool_] | None = None) -> None:
        self.size = size
        self.mask = mask
        self.count = size if mask is None else int(np.count_nonzero(mask))
        self._bitmaps: dict[tuple[int, int], NDArray[np.uint8]] = {}

    @property
    def share(self) -> float:
        """How many of the rows may be found, from 0 to 1."""
        return self.count / self.size

    def part(self, start: int, stop: int) -> Rows:
        """Return those of a range, counted from its start."""
        return Rows(stop - start, None if self.mask is None else self.mask[start:stop])

    def numbers(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the rows of a range that may be found, counted from its start."""
        return np.arange(stop - start) if self.mask is None else np.flatnonzero(self.mask[start:stop])

    def selector(self, start: int, stop: int) -> faiss.IDSelector | None:
        """Return the same for FAISS; None where all may be found."""
        if self.mask is None:
            return None
        bitmap = self._bitmaps.get((start, stop))
        if bitmap is None:
            bitmap = self._bitmaps[start, stop] = np.packbits(self.mask[start:stop], bitorder="little")
        return faiss.IDSelectorBitmap(bitmap)
