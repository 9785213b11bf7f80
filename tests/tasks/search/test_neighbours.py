"""Neighbours: merged, shifted, and without the query's own row."""

from __future__ import annotations

import numpy as np

from lookalike.tasks.search.neighbours import Neighbours, merge, select_best


def neighbours(scores: list[list[float]], rows: list[list[int]]) -> Neighbours:
    return Neighbours(np.array(scores, np.float32), np.array(rows))


def test_equal_scores_come_in_the_order_of_rows() -> None:
    best = merge([neighbours([[0.5, 0.1]], [[7, 9]]), neighbours([[0.5, -1.0]], [[3, -1]])], 3)
    assert best.rows.tolist() == [[3, 7, 9]]


def test_what_is_missing_comes_last_whatever_its_score() -> None:
    best = merge([neighbours([[9.0, -0.5]], [[-1, 4]]), neighbours([[-0.9]], [[2]])], 3)
    assert best.rows.tolist() == [[4, 2, -1]]


def test_rows_of_a_part_become_rows_of_the_whole() -> None:
    assert neighbours([[1.0, 0.0]], [[3, -1]]).shift(10).rows.tolist() == [[13, -1]]


def test_without_takes_out_the_own_row_or_else_the_last() -> None:
    found = neighbours([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]], [[1, 2, 3], [4, 5, 6]]).exclude(np.array([2, 9]))
    assert found.rows.tolist() == [[1, 3], [4, 5]]
    np.testing.assert_allclose(found.scores, [[0.9, 0.7], [0.6, 0.5]])


def test_selected_are_the_same_as_merged_in_any_order() -> None:
    random = np.random.default_rng(1)
    parts = [
        Neighbours(random.random((20, width), np.float32), random.integers(0, 10**6, (20, width)))
        for width in (30, 7, 12)
    ]
    for k in (1, 5, 49, 60):
        chosen, wanted = select_best(parts, k), merge(parts, k)
        np.testing.assert_array_equal(np.sort(chosen.rows, axis=1), np.sort(wanted.rows, axis=1))
    assert select_best(parts[:1], 30) is parts[0]
