"""A server that is killed and starts again while many pictures are asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.client import ask_through_restart


@pytest.mark.slow
@pytest.mark.services
def test_no_answer_is_lost_or_doubled(tmp_path: Path) -> None:
    figures = ask_through_restart(tmp_path, 120, 4)
    assert (figures.right, figures.wrong, figures.failed, figures.lost, figures.doubled) == (120, 0, 0, 0, 0)
