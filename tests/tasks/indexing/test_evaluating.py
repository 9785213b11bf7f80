"""Recall, where several products show one picture and where fewer products exist than are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.indexing.evaluating import recall
from tasks.indexing.neighbours import Neighbours


def neighbours(scores: list[float], rows: list[int]) -> Neighbours:
    return Neighbours(np.array([scores], np.float32), np.array([rows]))


EXACT = neighbours([1 - i / 100 for i in range(20)], list(range(20)))


@pytest.mark.parametrize(
    ("rows", "reached"),
    [
        (list(range(10)), 1.0),
        (list(range(9, -1, -1)), 1.0),
        ([0, 1, 2, 3, 4, 50, 51, 52, 53, 54], 0.5),
        (list(range(10, 20)), 0.0),
        ([0, *[-1] * 9], 0.1),
    ],
)
def test_counts_the_exact_neighbours_that_were_found(rows: list[int], reached: float) -> None:
    assert recall(neighbours([0.0] * 10, rows), EXACT) == pytest.approx(reached)


def test_any_of_those_with_equal_scores_is_right() -> None:
    exact = neighbours([1.0, *[0.9] * 14, *[0.5] * 5], list(range(20)))
    assert recall(neighbours([0.0] * 10, [0, *range(6, 15)]), exact) == 1.0


def test_nothing_found_is_never_right() -> None:
    nothing = neighbours([float("-inf")] * 10, [-1] * 10)
    assert recall(nothing, nothing) == 0.0


def test_fewer_products_than_ten() -> None:
    assert recall(neighbours([1.0, 0.5], [0, 1]), neighbours([1.0, 0.5], [0, 1])) == 1.0
