"""Channels: the ways in which a query can find products, such as by their words or by their pictures."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
Scores = NDArray[np.float32]


class Channel(Protocol):
    """One way to find products, for one query. Safe to use from one thread at a time.

    Scores are from 0 to 1, on a scale that depends on the query and the product only: not on how far a search looks,
    nor on what else it finds. So scores of several channels can be added up, whichever of them found a product.
    """

    def candidates(self, reach: int, allowed: Mask | None) -> Rows:
        """Return the (n <= reach,) best rows, best first, of those that a mask (rows,) allows; None allows all alive.

        Fewer than `reach` means that the channel has no more to offer.
        """

    def scores(self, rows: Rows) -> Scores:
        """Return the (n,) exact scores of any (n,) rows, 0 where the channel finds nothing in a row."""
