"""`docs/security.md` names tests and settings: they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lookalike.serving.settings import ServingSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))))
def test_every_test_that_it_names_is_there(test: str) -> None:
    assert "def test_" in (ROOT / test).read_text()


def test_every_setting_that_it_names_is_one() -> None:
    known = {variable.name for variable in ServingSettings.variables()}
    named = set(re.findall(r"`(LOOKALIKE_\w+)`", PAGE))
    assert named
    assert named <= known


def test_every_threat_names_its_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 4]
    threats = [row for row in rows if not row.startswith(("| role", "| threat"))]
    proved = [row for row in threats if "`tests/" in row.rsplit("|", 2)[1]]
    roles = 5
    assert len(threats) - len(proved) == roles
