"""Rankings: the order in which a query finds products, however it finds them.

A blend adds up what several channels give. Each channel offers its best rows, and each row that one of them offers gets
its score in all. No row beyond what was offered can reach the sum of the scores at which the channels stopped: the rows
above that are final. This is the threshold algorithm of Fagin, Lotem and Naor, "Optimal aggregation algorithms for
middleware", Journal of Computer and System Sciences, 2003.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.data.snapshots.products import Product
from lookalike.serving.query.options import ChannelName
from lookalike.tasks.search.channels import Channel, Mask, Rows, Scores
from lookalike.tasks.search.looks import Examples
from lookalike.tasks.search.searcher import Matches, Searcher

Vectors = NDArray[np.float32]

ROUNDING = 1e-6
"""So much two sums may differ that mean the same: rows this close to the threshold are not final yet."""


class Ranking(Protocol):
    """Looks for the best rows. `is_exact` says whether it finds the best for any reach."""

    @property
    def is_exact(self) -> bool: ...

    def look(self, reach: int, allowed: Mask | None, *, is_last: bool) -> tuple[Matches, bool]:
        """Return the best rows among those that a mask (rows,) allows, best first, and whether there are no more.

        What a search with a larger reach returns begins with them. With `is_last` nobody will look further, and those
        that are not final are returned, too.
        """


class Directions:
    """Where a query's pictures lead: the nearest of some (dimension,) directions in the index's space counts.

    `examples` are the (dimension,) directions of the positive examples that these come from, by their place in the
    query.
    """

    def __init__(
        self, searcher: Searcher, directions: Sequence[Vectors], examples: Mapping[int, Vectors] | None = None
    ) -> None:
        self.searcher = searcher
        self._directions = tuple(directions)
        self._examples = dict(examples or {})

    def nearest(self, reach: int, allowed: Mask | None) -> Matches:
        """Return the `reach` best rows of those that a mask (rows,) allows, best first."""
        each = [self.searcher.nearest(direction, reach, allowed) for direction in self._directions]
        if len(each) == 1:
            return each[0]
        # the best rows are among these: what is not among the first of its nearest direction has `reach` before it
        rows, scores = (np.concatenate([getattr(found, name) for found in each]) for name in ("rows", "scores"))
        order = np.lexsort((rows, -scores))
        _, first = np.unique(rows[order], return_index=True)
        kept = order[np.sort(first)][:reach]
        return Matches(scores[kept], rows[kept])

    def compare(self, rows: Rows) -> Scores:
        """Return the (n,) cosine similarities of (n,) rows."""
        each = [self.searcher.compare(direction, rows) for direction in self._directions]
        return np.asarray(np.max(each, axis=0), np.float32)

    def find_views(self, rows: Rows) -> list[int | None]:
        """Return which picture of each of (n,) rows is the nearest; None where a row has one picture."""
        if len(self._directions) == 1 or not self.searcher.has_views:
            return self.searcher.find_views(self._directions[0], rows)
        nearest = np.argmax([self.searcher.compare(direction, rows) for direction in self._directions], axis=0)
        views = [self.searcher.find_views(direction, rows) for direction in self._directions]
        return [views[which][place] for place, which in enumerate(nearest.tolist())]

    def find_examples(self, rows: Rows) -> list[int | None]:
        """Return the place of the example that each of (n,) rows is nearest to; None for fewer than two examples."""
        if len(self._examples) < 2:
            return [None] * len(rows)
        places = list(self._examples)
        nearest = np.argmax([self.searcher.compare(one, rows) for one in self._examples.values()], axis=0)
        return [places[which] for which in nearest.tolist()]


class Nearest(Ranking):
    """By closeness to (dimension,) directions in the index's space, the nearest of which counts."""

    def __init__(self, directions: Directions) -> None:
        self.directions = directions

    @property
    def is_exact(self) -> bool:
        return self.directions.searcher.is_exact

    def look(self, reach: int, allowed: Mask | None, *, is_last: bool) -> tuple[Matches, bool]:
        found = self.directions.nearest(reach, allowed)
        return found, len(found) < reach


def clip_closeness(directions: Directions, rows: Rows) -> Scores:
    """Return the (n,) scores of (n,) rows from 0 to 1, as channels give them."""
    return np.clip(directions.compare(rows), 0, 1)


class Looks(Channel):
    """By what pictures look like: closeness to directions, 0 for what points away from them.

    Where the direction is that of a text, what points away is not offered. `examples` are what the text was taken for,
    where it has no direction of its own.
    """

    def __init__(self, directions: Directions, examples: Examples | None = None, *, of_text: bool = False) -> None:
        self.directions = directions
        self._examples = examples
        self._of_text = of_text or examples is not None

    def candidates(self, reach: int, allowed: Mask | None) -> Rows:
        found = self.directions.nearest(reach, allowed)
        return found.rows[found.scores > 0] if self._of_text else found.rows

    def scores(self, rows: Rows) -> Scores:
        return clip_closeness(self.directions, rows)

    def name_examples(self, most: int) -> list[tuple[Product, float]]:
        """Return the products whose pictures stand for a text, with their weights, those that count most first."""
        if self._examples is None:
            return []
        products = self.directions.searcher.products.take(self._examples.rows[:most], names=())
        return list(zip(products, self._examples.weights.tolist(), strict=False))


@dataclass(frozen=True, slots=True)
class Part:
    """A channel in a blend. A negative weight takes away from what the others give."""

    name: ChannelName
    channel: Channel
    weight: float


class Blend(Ranking):
    """By the weighted mean of the scores that channels give; at least one weight must be positive."""

    def __init__(self, parts: Sequence[Part], *, is_exact: bool) -> None:
        self.parts = tuple(part for part in parts if part.weight)
        self._is_exact = is_exact
        self._total = sum(part.weight for part in self.parts if part.weight > 0)

    @property
    def is_exact(self) -> bool:
        return self._is_exact

    def look(self, reach: int, allowed: Mask | None, *, is_last: bool) -> tuple[Matches, bool]:
        offering = [part for part in self.parts if part.weight > 0]
        offered = [part.channel.candidates(reach, allowed) for part in offering]
        rows = np.unique(np.concatenate(offered))
        scores = self.scores(rows)
        order = np.argsort(-scores, kind="stable")  # of equal scores the first row comes first
        is_all = all(len(some) < reach for some in offered)
        if not is_all and not is_last and len(self.parts) > 1:
            edge = sum(
                part.weight * float(part.channel.scores(some[-1:])[0])
                for part, some in zip(offering, offered, strict=True)
                if len(some) == reach
            )
            order = order[scores[order] > edge / self._total + ROUNDING]
        return Matches(scores[order].astype(np.float32), rows[order]), is_all

    def scores(self, rows: Rows) -> NDArray[np.float64]:
        """Return the (n,) scores of any (n,) rows."""
        sums = np.zeros(len(rows), np.float64)
        for part in self.parts:
            sums += part.weight * part.channel.scores(rows).astype(np.float64)
        return sums / self._total


def find_views(ranking: Ranking, rows: Rows) -> list[int | None]:
    """Return which picture of each of (n,) rows is the nearest to what a query looks for.

    None where a row has one picture, and for a query without a picture whose text looks like nothing.
    """
    pictures = find_pictures(ranking)
    if pictures is not None:
        return pictures.find_views(rows)
    parts = ranking.parts if isinstance(ranking, Blend) else ()
    looks = next((part.channel for part in parts if part.weight > 0 and isinstance(part.channel, Looks)), None)
    return [None] * len(rows) if looks is None else looks.directions.find_views(rows)


def find_pictures(ranking: Ranking) -> Directions | None:
    """Return where the pictures, products and vectors of a query lead; None where it has none that are positive."""
    if isinstance(ranking, Nearest):
        return ranking.directions
    parts = ranking.parts if isinstance(ranking, Blend) else ()
    looks = [part.channel for part in parts if part.weight > 0 and part.name == "picture"]
    return next((channel.directions for channel in looks if isinstance(channel, Looks)), None)
