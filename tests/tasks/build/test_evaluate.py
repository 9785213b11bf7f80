"""Recall, where several products show one picture and where fewer products exist than are asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lookalike.tasks.build.evaluate import compute_recall, compute_recall_by_score
from lookalike.tasks.search.neighbours import Neighbours


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
    assert compute_recall(neighbours([0.0] * 10, rows), EXACT) == pytest.approx(reached)


def test_any_of_those_with_equal_scores_is_right() -> None:
    exact = neighbours([1.0, *[0.9] * 14, *[0.5] * 5], list(range(20)))
    assert compute_recall(neighbours([0.0] * 10, [0, *range(6, 15)]), exact) == 1.0


def test_what_is_as_near_as_the_tenth_does_not_make_up_for_what_is_nearer() -> None:
    exact = neighbours([1.0, *[0.9] * 19], list(range(20)))
    assert compute_recall(neighbours([0.0] * 10, list(range(5, 15))), exact) == pytest.approx(0.9)


def test_any_product_of_a_picture_is_right_however_many_show_it() -> None:
    """Exact answers have place for twenty: forty products show the second picture, and five the third."""
    exact = neighbours([1.0, *[0.9] * 19], list(range(20)))
    pictures = np.array([0, *[1] * 40, *[2] * 5], np.int32)
    found = neighbours([0.0] * 10, [0, *range(30, 39)])
    assert compute_recall(found, exact, pictures) == 1.0
    assert compute_recall(found, exact) == pytest.approx(0.1)
    assert compute_recall(
        neighbours([0.0] * 10, [0, *range(30, 34), *range(41, 46)]), exact, pictures
    ) == pytest.approx(0.5)


@pytest.mark.parametrize("measured", [compute_recall, compute_recall_by_score])
def test_nothing_found_is_never_right(measured: Callable[[Neighbours, Neighbours], float]) -> None:
    nothing = neighbours([float("-inf")] * 10, [-1] * 10)
    assert measured(nothing, nothing) == 0.0
    assert measured(nothing, EXACT) == 0.0


def test_what_scores_as_the_tenth_is_as_good() -> None:
    exact = neighbours([1.0, *[0.9] * 19], list(range(20)))
    assert compute_recall_by_score(neighbours([1.0, *[0.9] * 9], [0, *range(30, 39)]), exact) == 1.0
    assert compute_recall_by_score(neighbours([0.9] * 5 + [0.8] * 5, list(range(30, 40))), exact) == pytest.approx(0.5)


@pytest.mark.parametrize("measured", [compute_recall, compute_recall_by_score])
@pytest.mark.parametrize("count", [0, 2])
def test_fewer_products_than_ten(measured: Callable[[Neighbours, Neighbours], float], count: int) -> None:
    few = neighbours([1.0, 0.5][:count], [0, 1][:count])
    assert measured(few, few) == 1.0
