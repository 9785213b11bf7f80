"""Blends of channels against adding up all scores of all rows, whichever rows a channel offers first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.serving.query.options import QueryOptions
from lookalike.serving.search.rankings import DEPTH, Blend, Part
from lookalike.serving.search.selection import REACHES, Among, find_best
from lookalike.tasks.search.channels import Channel, Mask, Rows, Scores
from lookalike.tasks.search.searcher import Searcher

ROWS = 3_000


class Table(Channel):
    """A channel that has its scores in a table. It has nothing to offer in rows of 0."""

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self.reached: list[int] = []

    def candidates(self, reach: int, allowed: Mask | None) -> Rows:
        self.reached.append(reach)
        order = np.lexsort((np.arange(len(self._scores)), -self._scores))
        kept = order[self._scores[order] > 0]
        return kept[:reach] if allowed is None else kept[allowed[kept]][:reach]

    def scores(self, rows: Rows) -> Scores:
        return self._scores[rows]


class NoProducts(Searcher):
    """What selection asks of a searcher where nothing is grouped."""

    def __init__(self) -> None: ...


def tables(seed: int, count: int, *, steps: int | None = None) -> list[Table]:
    random = np.random.default_rng(seed)
    scores = random.random((count, ROWS)).astype(np.float32)
    scores[random.random((count, ROWS)) < 0.3] = 0
    return [Table(some if steps is None else np.round(some * steps) / np.float32(steps)) for some in scores]


def by_hand(parts: list[Part], mask: Mask) -> tuple[Rows, np.ndarray[Any, Any]]:
    """Return all rows that some channel finds, best first, and the scores of all rows."""
    everything = np.arange(ROWS)
    total = sum(part.weight for part in parts if part.weight > 0)
    weighed = [part.weight * part.channel.scores(everything).astype(np.float64) for part in parts]
    scores = np.sum(weighed, axis=0) / total
    found = np.any([part.channel.scores(everything) > 0 for part in parts if part.weight > 0], axis=0)
    order = np.lexsort((everything, -scores))
    return order[(found & mask)[order]], scores


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(st.sampled_from([2.0, 1.0, 0.3, 0.1, 0.02, -0.2, 0.0]), min_size=1, max_size=4),
    st.sampled_from([None, 4]),
    st.integers(1, 50),
    st.integers(0, 200),
    st.booleans(),
)
def test_pages_are_those_of_adding_up_all(
    seed: int, weights: list[float], steps: int | None, k: int, offset: int, is_filtered: bool
) -> None:
    weights = [1.0, *weights]
    channels = tables(seed, len(weights), steps=steps)
    parts = [Part("words", channel, weight) for channel, weight in zip(channels, weights, strict=True)]
    mask = np.random.default_rng(seed).random(ROWS) < (0.2 if is_filtered else 1.0)
    options = QueryOptions(k=k, offset=offset)
    among = Among(mask if is_filtered else None)
    found = find_best(NoProducts(), Blend(parts, is_exact=True), offset + k, options, among)
    rows, scores = by_hand(parts, mask)
    assert found.rows.tolist() == rows[: offset + k].tolist()
    np.testing.assert_allclose(found.scores, scores[found.rows], atol=1e-6)


def test_a_clear_winner_needs_no_far_look_and_a_close_race_does() -> None:
    def look(scores: Mapping[int, float]) -> list[int]:
        table = np.linspace(0.5, 0.1, ROWS, dtype=np.float32)
        for row, score in scores.items():
            table[row] = score
        first, second = Table(table), Table(table[::-1].copy())
        find_best(NoProducts(), Blend([Part("words", first, 1), Part("picture", second, 1)], is_exact=True), 1, *rest)
        return first.reached

    rest = (QueryOptions(k=1), Among())
    assert look({ROWS // 2: 0.99, ROWS - 1 - ROWS // 2: 0.99}) == [32]
    assert look({}) == list(REACHES)[: len(look({}))]
    assert len(look({})) > 1


def test_a_lesser_channel_is_asked_where_the_others_leave_a_doubt() -> None:
    def look(first: float, k: int) -> tuple[list[int], list[int], list[int]]:
        table = np.linspace(0.5, 0.1, ROWS, dtype=np.float32)
        table[7] = first
        words, looks = Table(table), Table(np.linspace(0, 1, ROWS, dtype=np.float32))
        parts = [Part("words", words, 1), Part("looks", looks, 0.1)]
        found = find_best(NoProducts(), Blend(parts, is_exact=True), k, QueryOptions(k=k), Among())
        assert found.rows.tolist() == by_hand(parts, np.ones(ROWS, bool))[0][:k].tolist()
        return found.rows.tolist(), words.reached, looks.reached

    assert look(0.9, k=1) == ([7], [DEPTH], [])
    rows, of_words, of_looks = look(0.9, k=2)
    assert (of_words[0], of_looks[0]) == (DEPTH, REACHES[0])
    assert rows[0] == 7
    assert look(0.55, k=1)[2] != []


def test_what_the_score_must_be_at_least_ends_the_search() -> None:
    channels = tables(3, 2)
    parts = [Part("words", channel, 1.0) for channel in channels]
    options = QueryOptions(k=50, min_score=0.97)
    found = find_best(NoProducts(), Blend(parts, is_exact=True), 50, options, Among())
    rows, scores = by_hand(parts, np.ones(ROWS, bool))
    assert found.rows.tolist() == [row for row in rows if round(scores[row], 6) >= 0.97]


@pytest.mark.parametrize("reach", REACHES[:3])
def test_what_is_final_stays_first(reach: int) -> None:
    parts = [Part("words", channel, 1.0) for channel in tables(5, 3)]
    blend = Blend(parts, is_exact=True)
    some, _ = blend.look(reach, None, wanted=reach, is_last=False)
    more, _ = blend.look(ROWS, None, wanted=ROWS, is_last=True)
    assert more.rows[: len(some)].tolist() == some.rows.tolist()
