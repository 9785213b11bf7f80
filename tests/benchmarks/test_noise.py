"""What counts as a change: the same share in most rounds, not a machine that was busy for a while."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.compare.noise import Verdict, compare

ROUNDS = 12


@pytest.mark.parametrize(
    ("share", "expected"), [(1.0, "as before"), (1.01, "as before"), (1.12, "slower"), (0.85, "faster")]
)
def test_what_moved_is_found_on_a_machine_whose_speed_changes(share: float, expected: Verdict) -> None:
    random = np.random.default_rng(3)
    speed = random.uniform(0.6, 1.8, ROUNDS)
    before = speed * random.normal(1.0, 0.02, ROUNDS)
    after = share * speed * random.normal(1.0, 0.02, ROUNDS)

    found = compare(before.tolist(), after.tolist())

    assert found.verdict == expected
    assert found.low <= found.ratio <= found.high


def test_one_bad_round_is_no_change() -> None:
    before = [1.0] * ROUNDS
    after = [1.0] * (ROUNDS - 1) + [9.0]

    assert compare(before, after).verdict == "as before"
