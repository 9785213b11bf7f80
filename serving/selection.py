"""Selection: from what is near in the index to the rows that are shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.ranking import Ranking
from tasks.searcher import Found, Searcher

GROUPED_REACH = 20_000
"""The furthest hit that is looked at to fill up groups."""
GROWTH = 4

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Among:
    """Where to look: an optional mask (rows,) of rows that may be found, and rows that are left out."""

    allowed: NDArray[np.bool_] | None = None
    without: Collection[int] = ()


def select(searcher: Searcher, direction: Vectors, ranking: Ranking, among: Among) -> Found:
    """Return the rows to show, best first, for a (dimension,) direction in the index's space.

    Where groups hide some of what was found, more is looked for, until there are enough groups, or no more rows, or
    `GROUPED_REACH` were looked at.
    """
    wanted = ranking.offset + ranking.k
    reach = wanted + len(among.without)
    furthest = max(reach, GROUPED_REACH)
    while True:
        found = searcher.nearest(direction, reach, among.allowed)
        kept = np.fromiter(_kept(searcher, found, ranking, among.without), np.int64)
        if len(kept) >= wanted or reach >= furthest or _is_all(found, reach, ranking):
            return found.take(kept[ranking.offset : wanted])
        reach = min(reach * GROWTH, furthest)


def _is_all(found: Found, reach: int, ranking: Ranking) -> bool:
    """Tell whether looking further would show nothing more."""
    if ranking.group_by is None or len(found) < reach:
        return True
    return ranking.min_score is not None and found.scores[-1] < ranking.min_score


def _kept(searcher: Searcher, found: Found, ranking: Ranking, without: Collection[int]) -> Iterator[int]:
    groups = None if ranking.group_by is None else searcher.products.values(ranking.group_by, found.rows)
    seen = set()
    for place, (score, row) in enumerate(zip(found.scores.tolist(), found.rows.tolist(), strict=True)):
        if ranking.min_score is not None and score < ranking.min_score:
            return
        if row in without:
            continue
        if groups is not None and groups[place] is not None:
            if groups[place] in seen:
                continue
            seen.add(groups[place])
        yield place
