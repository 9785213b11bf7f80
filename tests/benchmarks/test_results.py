from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.benchmarks.results import spread, write_result, write_table


@pytest.mark.parametrize("output", [["--output", "PATH"], ["--output=PATH"]])
def test_a_result_names_its_command_without_where_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: list[str]
) -> None:
    path = tmp_path / "results" / "result.json"  # the folder is made
    given = [one.replace("PATH", str(path)) for one in output]
    monkeypatch.setattr(sys, "argv", ["bench.py", "pictures", *given, "--rounds", "5"])
    write_result(path, {"rate": 1.5})
    result = json.loads(path.read_text())
    assert result["command"].endswith("pictures --rounds 5")
    assert result["figures"] == {"rate": 1.5}
    assert result["machine"].keys() >= {"commit", "cores", "processor", "python", "versions"}


def test_a_table_has_a_row_for_each() -> None:
    assert (
        write_table(["", "q/s"], [["ours", "1"], ["theirs", ""]]) == "| | q/s |\n|---|---|\n| ours | 1 |\n| theirs | |"
    )


def test_a_spread_is_of_all_rounds() -> None:
    assert spread([3000.0, 1000.0, 2000.0]) == "2,000 (1,000 to 3,000)"
    assert spread([0.731], 2) == "0.73 (0.73 to 0.73)"
