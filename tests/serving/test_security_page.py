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
    tables = [table.splitlines() for table in PAGE.split("\n\n") if table.startswith("| threat")]
    threats = [row for table in tables for row in table[2:]]
    assert len(threats) > 30
    assert [row for row in threats if "`tests/" not in row.rsplit("|", 2)[1]] == []
