"""One stream through swaps and a killed worker, and with a slow reader: a small edition of the benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.stream import ask_many, read_slowly

pytestmark = [pytest.mark.slow, pytest.mark.services]


def test_each_item_has_one_outcome(tmp_path: Path) -> None:
    found = ask_many(tmp_path, 400, 16)
    assert (found.right, found.refused) == (396, 4)
    assert (found.wrong, found.failed, found.lost, found.doubled) == (0, 0, 0, 0)
    assert found.ahead <= 32
    assert found.streams == 2
    assert found.snapshots >= 2


def test_a_slow_reader_slows_the_sender(tmp_path: Path) -> None:
    found = read_slowly(tmp_path, 20, 0.05, 1.0)
    assert (found.right, found.lost, found.doubled, found.streams) == (20, 0, 0, 1)
    assert found.ahead <= 16
