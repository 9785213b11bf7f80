"""Operating points, measured on real indexes over a small sample."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike.tasks.build.measure import SAMPLE, measure, split
from lookalike.tasks.build.planner import KINDS, OperatingPoint
from lookalike.tasks.search.projection import normalise

_random = np.random.default_rng(5)
CENTRES = _random.standard_normal((40, 32), np.float32)
VECTORS = normalise(CENTRES[_random.integers(0, 40, 4000)] + 0.4 * _random.standard_normal((4000, 32), np.float32))


def points_at(target: float) -> tuple[OperatingPoint, ...]:
    return measure(VECTORS[:1000], VECTORS[-60:], np.array_split(VECTORS, 5), len(VECTORS), target, threads=1).points


def test_each_kind_that_is_quick_to_build_is_tuned_to_the_target() -> None:
    points = points_at(0.9)
    assert tuple(point.kind for point in points) == KINDS[:-1]
    assert all(point.recall >= 0.9 for point in points)
    flat, *others = points
    assert flat.compared == 1000
    assert all(0 < point.compared < flat.compared for point in others)
    assert all(0 < (point.compared_in_all or 0) < len(VECTORS) for point in others)
    assert all(point.bytes_per_vector < flat.bytes_per_vector for point in others)


@pytest.mark.parametrize(
    ("pictures", "sample", "queries"),
    [(1, 1, 1), (2, 1, 1), (40, 36, 4), (10_000, 9700, 300), (10**6, SAMPLE, 300)],
)
def test_what_is_looked_for_is_not_in_the_sample(pictures: int, sample: int, queries: int) -> None:
    assert split(pictures) == (sample, queries)


@pytest.mark.parametrize("count", [1, 3, 15, 40])
def test_where_there_are_few_pictures_codes_that_need_more_are_not_measured(count: int) -> None:
    sample, queries = split(count)
    few = VECTORS[:count]
    points = measure(few[:sample], few[-queries:], [few], 90_000, 0.95, threads=1, pictures=count).points
    assert [point.kind for point in points] == ["Flat", "IVF SQ8", "IVF SQ8 short"]


def test_a_graph_is_measured_where_nothing_else_reaches_the_target() -> None:
    assert tuple(point.kind for point in points_at(1.01)) == KINDS
