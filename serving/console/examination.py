"""Examinations: what looks wrong in the products of a snapshot. Each looks at a sample, for a few seconds at most."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.catalogue.types import is_text
from lookalike.data.snapshots.products import Product
from lookalike.serving.errors import ProblemError
from lookalike.tasks.search.searcher import Matches, Searcher

SHOWN = 30
"""Groups of duplicates and products that are told, at most."""
SHOWN_OF_GROUP = 6
SAMPLE = 2000
"""Products whose neighbours are looked at."""
SECONDS = 3.0
"""For looking at groups, and the same for looking at neighbours."""
AT_A_TIME = 10_000
NEIGHBOURS = 10
NEARLY_ALL = 8
"""So many neighbours of one other value make a product a stray."""
CLOSE = 0.2
"""The share of the way from chance to the same from which neighbours count, as the search page says *similar*."""
_PAIRS = 200

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Products that show the same: the first of `size`. `is_same_file`: byte for byte."""

    size: int
    is_same_file: bool
    products: Sequence[Product]


@dataclass(frozen=True, slots=True)
class DuplicateGroups:
    """How many groups there are among `examined` products, of how many products; the largest of them."""

    examined: int
    groups: int
    products: int
    largest: Sequence[DuplicateGroup]


@dataclass(frozen=True, slots=True)
class Stray:
    """A product with `value`, of whose nearest `count` have another value: `others`. `score` is their mean."""

    product: Product
    value: str
    others: str
    count: int
    score: float


@dataclass(frozen=True, slots=True)
class Strays:
    """Those among `examined` products, the closest to their neighbours first.

    Attributes:
        count: how many were found; `products` are the first of them.
        chance: the mean score of two products that were chosen by chance.
    """

    attribute: str
    examined: int
    count: int
    chance: float
    products: Sequence[Stray]


def find_duplicates(searcher: Searcher) -> DuplicateGroups:
    """Return the groups of products that show the same, with the largest."""
    near, rows = searcher.duplicates.near, _list_rows(searcher)
    sizes: Counter[Hashable] = Counter()
    a_row: dict[Hashable, int] = {}
    examined, end = 0, time.monotonic() + SECONDS
    while examined < len(rows) and time.monotonic() < end:
        some = rows[examined : examined + AT_A_TIME]
        keys = near.keys(some)
        sizes.update(keys)
        a_row.update(zip(keys, some.tolist(), strict=True))
        examined += len(some)
    groups = {key: size for key, size in sizes.items() if size > 1}
    largest = sorted(groups, key=lambda key: (-groups[key], a_row[key]))[:SHOWN]
    found = [_show_group(searcher, a_row[key]) for key in largest]
    return DuplicateGroups(examined, len(groups), sum(groups.values()), found)


def _show_group(searcher: Searcher, row: int) -> DuplicateGroup:
    alive, members = searcher.products.alive, searcher.duplicates.near.members(row)
    there = members if alive is None else members[alive[members]]
    is_same_file = len(set(searcher.duplicates.exact.keys(there))) == 1
    return DuplicateGroup(len(there), is_same_file, searcher.products.take(there[:SHOWN_OF_GROUP]))


def find_strays(searcher: Searcher, attribute: str) -> Strays:
    """Return the products whose neighbours nearly all have one other value of an attribute. Raises `ProblemError`."""
    _check_attribute(searcher, attribute)
    sample = choose_rows(searcher, SAMPLE)
    chance = _measure_chance(searcher, sample)
    least = chance + CLOSE * (1 - chance)
    found: dict[int, Matches] = {}
    end = time.monotonic() + SECONDS
    for row in sample.tolist():
        if time.monotonic() > end:
            break
        near = searcher.nearest(searcher.direction_of(row), NEIGHBOURS + 1)
        found[row] = near.take(np.flatnonzero(near.rows != row)[:NEIGHBOURS])
    close = {row: near for row, near in found.items() if _is_close(near, least)}
    suspects = sorted(_find_suspects(searcher, attribute, close), key=lambda one: -one.score)
    products = searcher.products.take([one.row for one in suspects[:SHOWN]])
    shown = [
        Stray(product, one.value, one.others, one.count, one.score)
        for product, one in zip(products, suspects, strict=False)
    ]
    return Strays(attribute, len(found), len(suspects), chance, shown)


def choose_rows(searcher: Searcher, most: int) -> Rows:
    """Return so many rows by chance, of those that can be found, always the same of a snapshot; all if they are few."""
    seed = int.from_bytes(searcher.manifest.id.encode()[-8:])
    return np.random.default_rng(seed).permutation(_list_rows(searcher))[:most]


def _list_rows(searcher: Searcher) -> Rows:
    products = searcher.products
    return np.arange(products.rows) if products.alive is None else np.flatnonzero(products.alive)


def _check_attribute(searcher: Searcher, attribute: str) -> None:
    kind = searcher.products.attributes.get(attribute)
    if kind is None:
        known = ", ".join(sorted(searcher.products.attributes)) or "none"
        detail = f"There is no attribute {attribute[:100]!r}; the attributes are: {known}."
        raise ProblemError("unknown_attribute", detail)
    if not (is_text(kind) or pa.types.is_boolean(kind)):
        raise ProblemError("bad_field", f"`attribute`: {attribute[:100]!r} is no text that names a kind of product.")


def _measure_chance(searcher: Searcher, sample: Rows) -> float:
    directions = [searcher.direction_of(int(row)) for row in sample[: 2 * _PAIRS]]
    pairs = zip(directions[::2], directions[1::2], strict=False)
    scores = [float(one @ other) for one, other in pairs]
    return float(np.clip(np.mean(scores), 0.0, 0.9)) if scores else 0.0


def _is_close(near: Matches, least: float) -> bool:
    return len(near) == NEIGHBOURS and float(near.scores.mean()) >= least


@dataclass(frozen=True, slots=True)
class _Suspect:
    row: int
    value: str
    others: str
    count: int
    score: float


def _find_suspects(searcher: Searcher, attribute: str, found: Mapping[int, Matches]) -> Iterator[_Suspect]:
    rows = np.unique(np.concatenate([np.array(list(found), np.int64), *(near.rows for near in found.values())]))
    values: dict[int, Any] = dict(zip(rows.tolist(), searcher.products.values(attribute, rows), strict=True))
    for row, near in found.items():
        counted = Counter(values[one] for one in near.rows.tolist() if values[one] is not None)
        others, count = next(iter(counted.most_common(1)), (None, 0))
        if values[row] is not None and others != values[row] and count >= NEARLY_ALL:
            yield _Suspect(row, str(values[row]), str(others), count, float(near.scores.mean()))
