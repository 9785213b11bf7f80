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
LESSER = 0.25
"""A channel with at most this share of the greatest weight is a lesser one: it is asked if the others leave a doubt."""
DEPTH = 128
"""How many rows the others offer at least where there is a lesser one: it leaves no doubt for most queries."""


class Ranking(Protocol):
    """Looks for the best rows. `is_exact` says whether it finds the best for any reach."""

    @property
    def is_exact(self) -> bool: ...

    def look(self, reach: int, allowed: Mask | None, *, wanted: int, is_last: bool) -> tuple[Matches, bool]:
        """Return the best rows among those that a mask (rows,) allows, best first, and whether there are no more.

        What a search with a larger reach returns begins with them. Where as many as are wanted are found sooner, they
        may be all that is returned. With `is_last` nobody will look further, and those that are not final are returned,
        too.
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

    def look(self, reach: int, allowed: Mask | None, *, wanted: int, is_last: bool) -> tuple[Matches, bool]:
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

    @property
    def is_exact(self) -> bool:
        return self._is_exact

    def look(self, reach: int, allowed: Mask | None, *, wanted: int, is_last: bool) -> tuple[Matches, bool]:
        greatest = max(part.weight for part in self.parts)
        asked = [place for place, part in enumerate(self.parts) if part.weight > LESSER * greatest]
        lesser = [place for place, part in enumerate(self.parts) if 0 < part.weight <= LESSER * greatest]
        offers = _Offers(self.parts)
        offers.ask(asked, max(reach, DEPTH) if lesser else reach, allowed)
        if lesser and reach < DEPTH and not is_last:
            final = offers.final()
            if len(final) >= wanted:
                return final, False
        if lesser:
            offers.ask(lesser, reach, allowed)
        is_final = offers.is_all or is_last or len(self.parts) == 1
        return offers.best() if is_final else offers.final(), offers.is_all

    def scores(self, rows: Rows) -> NDArray[np.float64]:
        """Return the (n,) scores of any (n,) rows."""
        return _add_up(self.parts, [part.channel.scores(rows) for part in self.parts])


class _Offers:
    """The rows that the channels of a blend offer, with the score of each in all channels."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._rows: Rows = np.empty(0, np.int64)
        self._scores = [np.empty(0, np.float32) for _ in parts]
        self._has_more = [part.weight > 0 for part in parts]
        self._edges = [np.float32(part.weight > 0) for part in parts]
        """The most that each channel may give a row that it did not offer; a weight below 0 gives nothing."""

    @property
    def is_all(self) -> bool:
        """Whether no channel has more to offer."""
        return not any(self._has_more)

    def ask(self, places: Sequence[int], reach: int, allowed: Mask | None) -> None:
        """Let the channels in some places of the blend offer their best rows."""
        offered = [self._parts[place].channel.candidates(reach, allowed) for place in places]
        new = np.unique(np.concatenate(offered))
        if len(self._rows):
            new = new[~np.isin(new, self._rows)]
        self._rows = np.concatenate([self._rows, new])
        self._scores = [
            np.concatenate([scores, part.channel.scores(new)])
            for part, scores in zip(self._parts, self._scores, strict=True)
        ]
        for place, rows in zip(places, offered, strict=True):
            self._has_more[place] = len(rows) == reach
            last = self._rows == rows[-1] if len(rows) == reach else np.zeros(len(self._rows), bool)
            self._edges[place] = self._scores[place][last].sum()

    def best(self) -> Matches:
        """Return what was offered, best first; of equal scores the first row comes first."""
        return self._rank(-np.inf)

    def final(self) -> Matches:
        """Return those of what was offered that no other row can come before."""
        edge = _add_up(self._parts, [np.atleast_1d(edge) for edge in self._edges])[0]
        return self._rank(edge + ROUNDING)

    def _rank(self, edge: float) -> Matches:
        """Return the rows whose score is above an edge, best first."""
        sums = _add_up(self._parts, self._scores)
        kept = np.flatnonzero(sums > edge)
        order = kept[np.lexsort((self._rows[kept], -sums[kept]))]
        return Matches(sums[order].astype(np.float32), self._rows[order])


def _add_up(parts: Sequence[Part], scores: Sequence[Scores]) -> NDArray[np.float64]:
    """Return the (n,) weighted means of the (n,) scores that channels give; those of weights below 0 are taken away."""
    total = sum(part.weight for part in parts if part.weight > 0)
    weighed = [part.weight * given.astype(np.float64) for part, given in zip(parts, scores, strict=True)]
    return np.asarray(np.sum(weighed, axis=0) / total, np.float64)


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
