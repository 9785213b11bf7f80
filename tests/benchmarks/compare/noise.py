"""Whether something moved, or the machine did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

SMALLEST = 0.03
"""A ratio nearer to 1 is no news, however certain it is."""

_DRAWS = 4000

Verdict = Literal["slower", "faster", "as before"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """After in units of before: the median over the rounds, and where it lies in 95 of 100 cases."""

    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Say what moved. A larger figure is slower."""
        if self.low > 1.0 + SMALLEST:
            return "slower"
        return "faster" if self.high < 1.0 - SMALLEST else "as before"


def compare(before: Sequence[float], after: Sequence[float]) -> Comparison:
    """Compare figures of the same rounds: both sides of a round had the same neighbours.

    The interval is the percentile bootstrap of the median of the rounds' ratios (Efron 1979).
    """
    ratios = np.asarray(after, dtype=np.float64) / np.asarray(before, dtype=np.float64)
    draws = np.random.default_rng(0).choice(ratios, size=(_DRAWS, len(ratios)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return Comparison(float(np.median(ratios)), float(low), float(high))
