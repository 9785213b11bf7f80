"""Selection: from what is near in the index to the rows that are shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.serving.query.options import MAX_REACH, QueryOptions
from lookalike.serving.query.query import round_score
from lookalike.serving.search.rankings import Ranking
from lookalike.tasks.search.order import sort_rows
from lookalike.tasks.search.searcher import Matches, Searcher

REACHES = (32, 128, 1024, 5_000, MAX_REACH)
"""How far a search looks, in steps: how hard an index tries follows from it, and so must not follow from the page."""
NOTHING = Matches(np.empty(0, np.float32), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class Among:
    """Where to look: an optional mask (rows,) of rows that may be found, and rows that are left out."""

    allowed: NDArray[np.bool_] | None = None
    without: Collection[int] = ()


def select(searcher: Searcher, ranking: Ranking, options: QueryOptions, among: Among) -> Matches:
    """Return the rows to show, in the order that is asked for."""
    wanted = options.offset + options.k
    if options.order is None or options.order.is_best_first:
        return find_best(searcher, ranking, wanted, options, among).skip(options.offset)
    best = find_best(searcher, ranking, options.reach, options, among)
    places = sort_rows(searcher.products, best.rows, options.order, wanted)
    return best.take(places[options.offset :])


def match_hits(searcher: Searcher, ranking: Ranking | None, options: QueryOptions, among: Among) -> NDArray[np.bool_]:
    """Return a mask (rows,) of the best hits, as many as a query sorts and counts."""
    mask = np.zeros(searcher.products.rows, bool)
    if ranking is not None:
        mask[find_best(searcher, ranking, options.reach, options, among).rows] = True
    return mask


def find_best(searcher: Searcher, ranking: Ranking, wanted: int, options: QueryOptions, among: Among) -> Matches:
    """Return so many of the best hits, best first, or fewer where there are no more.

    Pages fit together: what a search that looks further finds comes after all that others found before it. Where groups
    hide some of that, more is looked for, until there are enough groups, or no more rows, or the last of `REACHES`.
    """
    found, kept = NOTHING, np.empty(0, np.int64)
    enough = wanted + len(among.without)
    reaches = list(_list_reaches(ranking, enough))
    for reach in reaches:
        further, is_all = ranking.look(reach, among.allowed, wanted=enough, is_last=reach == reaches[-1])
        found = _append(found, further)
        kept = np.fromiter(islice(_choose(searcher, found, options, among.without), wanted), np.int64)
        if len(kept) >= wanted or is_all or _is_far_enough(found, options):
            break
    return found.take(kept)


def count_hidden(searcher: Searcher, found: Matches, options: QueryOptions, among: Among) -> list[int] | None:
    """Return for each row to show how many others of its group it stands for; None where nothing is collapsed.

    Products that the query might have found count, with any score, but not those that the filters leave out.
    """
    if options.duplicates is None:
        return None
    groups = searcher.duplicates.of_kind(options.duplicates)
    allowed = searcher.products.alive if among.allowed is None else among.allowed
    return [groups.hidden(row, allowed, among.without) for row in found.rows.tolist()]


def _list_reaches(ranking: Ranking, wanted: int) -> Iterator[int]:
    """Yield how far to look; what finds everything need not look as far again and again."""
    last = max(wanted, REACHES[-1])
    first = wanted if ranking.is_exact else 0
    yield from (reach for reach in REACHES[:-1] if first <= reach < last)
    yield last


def _append(found: Matches, further: Matches) -> Matches:
    """Return what was found, and behind it what else was found further on."""
    if not len(found):
        return further
    new = further.take(np.flatnonzero(~np.isin(further.rows, found.rows)))
    return Matches(np.concatenate([found.scores, new.scores]), np.concatenate([found.rows, new.rows]))


def _is_far_enough(found: Matches, options: QueryOptions) -> bool:
    """Tell whether what follows is below the score that is asked for."""
    return len(found) > 0 and _is_below(found.scores[-1], options)


def _is_below(score: float, options: QueryOptions) -> bool:
    """Tell whether a score as shown is lower than wanted: a caller that sends the score of a hit gets that hit."""
    return options.min_score is not None and round_score(score) < options.min_score


def _choose(searcher: Searcher, found: Matches, options: QueryOptions, without: Collection[int]) -> Iterator[int]:
    groups = _find_groups(searcher, found, options)
    seen = [set[Any]() for _ in groups]
    for place, (score, row) in enumerate(zip(found.scores.tolist(), found.rows.tolist(), strict=True)):
        if _is_below(score, options):
            return
        if row not in without and (not groups or _is_first([group[place] for group in groups], seen)):
            yield place


def _is_first(own: Sequence[Any], seen: Sequence[set[Any]]) -> bool:
    """Tell whether none of the groups of a row was seen before; then they are from now on."""
    if any(one in before for one, before in zip(own, seen, strict=True)):
        return False
    for one, before in zip(own, seen, strict=True):
        if one is not None:
            before.add(one)
    return True


def _find_groups(searcher: Searcher, found: Matches, options: QueryOptions) -> list[list[Any]]:
    """Return for each way to group what was found the group of each row; None is no group."""
    groups = []
    if options.group_by is not None:
        groups.append(searcher.products.values(options.group_by, found.rows))
    if options.duplicates is not None:
        groups.append(searcher.duplicates.of_kind(options.duplicates).keys(found.rows))
    return groups
