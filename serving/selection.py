"""Selection: from what is near in the index to the rows that are shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

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


def count_hidden(searcher: Searcher, found: Found, ranking: Ranking, among: Among) -> list[int] | None:
    """Return for each row to show how many others of its group it stands for; None where nothing is collapsed.

    Those count that the query might have found: whatever their score, but not what the filters leave out.
    """
    if ranking.collapse is None:
        return None
    groups = searcher.duplicates.of_kind(ranking.collapse)
    allowed = searcher.products.alive if among.allowed is None else among.allowed
    return [groups.hidden(row, allowed, among.without) for row in found.rows.tolist()]


def _is_all(found: Found, reach: int, ranking: Ranking) -> bool:
    """Tell whether looking further would show nothing more."""
    if (ranking.group_by is None and ranking.collapse is None) or len(found) < reach:
        return True
    return ranking.min_score is not None and found.scores[-1] < ranking.min_score


def _kept(searcher: Searcher, found: Found, ranking: Ranking, without: Collection[int]) -> Iterator[int]:
    groups = _groups(searcher, found, ranking)
    seen = [set[Any]() for _ in groups]
    for place, (score, row) in enumerate(zip(found.scores.tolist(), found.rows.tolist(), strict=True)):
        if ranking.min_score is not None and score < ranking.min_score:
            return
        if row in without:
            continue
        own = [group[place] for group in groups]
        if any(one in before for one, before in zip(own, seen, strict=True)):
            continue
        for one, before in zip(own, seen, strict=True):
            if one is not None:
                before.add(one)
        yield place


def _groups(searcher: Searcher, found: Found, ranking: Ranking) -> list[list[Any]]:
    """Return for each way to group what was found the group of each row; None is no group."""
    groups = []
    if ranking.group_by is not None:
        groups.append(searcher.products.values(ranking.group_by, found.rows))
    if ranking.collapse is not None:
        groups.append(searcher.duplicates.of_kind(ranking.collapse).ids[found.rows].tolist())
    return groups
