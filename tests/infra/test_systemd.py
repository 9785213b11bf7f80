"""The units for one host without containers, as systemd itself reads them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.servers import BIN, ROOT

UNITS = sorted((ROOT / "infra" / "systemd").glob("*.service"))
INSTALLED = "/opt/lookalike/bin/"
MOST_EXPOSED = 40  # of 100; a service without any protection has 96


@pytest.fixture
def copies(tmp_path: Path) -> list[Path]:
    """The units, with the programs and the folder of this machine."""
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no systemd-analyze: install Debian's package `systemd`")
        pytest.skip("there is no systemd-analyze")
    made = []
    for unit in UNITS:
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace(INSTALLED, f"{BIN}/").replace("/srv/lookalike", str(ROOT)))
        made.append(copy)
    return made


def analyze(*arguments: str) -> str:
    command = ["systemd-analyze", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr if done.returncode else done.stderr


def test_there_is_a_unit_for_each_process_of_one_host() -> None:
    assert [unit.stem for unit in UNITS] == ["lookalike-prefect", "lookalike-serving", "lookalike-worker"]


def test_systemd_has_nothing_to_say(copies: list[Path]) -> None:
    for unit in copies:
        complaints = analyze("verify", "--man=no", str(unit))
        assert [line for line in complaints.splitlines() if unit.name in line] == []


def test_a_wrong_line_is_noticed(copies: list[Path]) -> None:
    unit = copies[0]
    unit.write_text(unit.read_text().replace("[Service]", "[Service]\nRestartt=always"))
    assert "Restartt" in analyze("verify", "--man=no", str(unit))


def test_a_service_that_is_broken_into_can_do_little(copies: list[Path]) -> None:
    for unit in copies:
        assert analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(unit)) == ""
