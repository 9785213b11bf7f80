"""Rankings: the order in which a query finds products, however it finds them.

A blend adds up what several channels give. Each channel offers its best rows, and each row that one of them offers gets
its score in all. No row beyond what was offered can reach the sum of the scores at which the channels stopped: the rows
above that are final. This is the threshold algorithm of Fagin, Lotem and Naor, "Optimal aggregation algorithms for
middleware", Journal of Computer and System Sciences, 2003.
"""

from __future__ import annotations

from collections.abc import Sequence
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


class Nearest(Ranking):
    """By closeness to a (dimension,) direction in the index's space."""

    def __init__(self, searcher: Searcher, direction: Vectors) -> None:
        self._searcher = searcher
        self._direction = direction

    @property
    def is_exact(self) -> bool:
        return self._searcher.is_exact

    def look(self, reach: int, allowed: Mask | None, *, is_last: bool) -> tuple[Matches, bool]:
        found = self._searcher.nearest(self._direction, reach, allowed)
        return found, len(found) < reach


class Looks(Channel):
    """By what pictures look like: closeness to a direction, 0 for what points away from it.

    Where the direction is that of a text, what points away is not offered. `examples` are what the text was taken for,
    where it has no direction of its own.
    """

    def __init__(
        self, searcher: Searcher, direction: Vectors, examples: Examples | None = None, *, of_text: bool = False
    ) -> None:
        self._searcher = searcher
        self._direction = direction
        self._examples = examples
        self._of_text = of_text or examples is not None

    def candidates(self, reach: int, allowed: Mask | None) -> Rows:
        found = self._searcher.nearest(self._direction, reach, allowed)
        return found.rows[found.scores > 0] if self._of_text else found.rows

    def scores(self, rows: Rows) -> Scores:
        return np.clip(self._searcher.compare(self._direction, rows), 0, 1)

    def name_examples(self, most: int) -> list[tuple[Product, float]]:
        """Return the products whose pictures stand for a text, with their weights, those that count most first."""
        if self._examples is None:
            return []
        products = self._searcher.products.take(self._examples.rows[:most], names=())
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
