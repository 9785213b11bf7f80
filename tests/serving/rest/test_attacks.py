"""What `tests/benchmarks/fuzz.py` and `workers.py` show at full size, small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.fuzz import ask_once, fuzz
from tests.benchmarks.workers import kill
from tests.support.mutations import case, files_of
from tests.support.pictures import drawing
from tests.support.processes import server
from tests.support.shop import Shop, picture

pytestmark = pytest.mark.services


def test_mutated_pictures_are_answered_or_refused(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    (tmp_path / "real").mkdir()
    drawing(1).save(tmp_path / "real" / "a.png")
    files = files_of(tmp_path / "real", 1)
    assert case(7, files) == case(7, files)
    with server(tmp_path) as running:
        running.wait(lambda state: state["ready"])
        findings = fuzz(running, files, iter(range(500)), connections=2)
        assert not findings.failures, findings.failures[:3]
        assert findings.reasons.total() == 500
        assert findings.reasons["200"] > 50
        assert findings.reasons["422 image_damaged"] > 50
        assert ask_once(running.port, picture(3)) == (200, "b/similar")


@pytest.mark.slow
def test_a_killed_worker_takes_only_its_own_requests_along(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    assert "all of them its own" in kill(tmp_path, 9)
