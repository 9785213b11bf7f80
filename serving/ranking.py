"""Ranking: how hits are chosen, whatever is searched for."""

from __future__ import annotations

from dataclasses import dataclass

from data.duplicates import Kind
from tasks.indexing.filters import Condition

SHOWN_DIGITS = 6
"""So many digits of a score after the point are sent."""


def shown(score: float) -> float:
    """Return a score as replies show it."""
    return round(float(score), SHOWN_DIGITS)


@dataclass(frozen=True, slots=True)
class Ranking:
    """`k` hits after the first `offset`, among products that satisfy all `conditions`.

    `min_score` leaves out hits whose score, as it is shown, is lower. `group_by` names an attribute: of the hits with
    one value of it only the best counts; products without a value stand for themselves. `collapse` does the same with
    products that show the same picture, or near-duplicates too.
    """

    k: int = 10
    offset: int = 0
    conditions: tuple[Condition, ...] = ()
    min_score: float | None = None
    group_by: str | None = None
    collapse: Kind | None = None
