"""How runs end, as Prefect lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from lookalike.flows.runtime.states import end_state
from tests.flows.conftest import Reindex
from tests.support.pictures import write_catalogue
from tests.support.reports import run_report

pytestmark = pytest.mark.slow  # Prefect takes seconds to import


@pytest.mark.parametrize(
    ("fields", "type_", "name", "message"),
    [
        ({}, "COMPLETED", "Published", "+12 ~43 -5, 1,501 products, 7 rejected"),
        ({"added": 0, "rejected": 0}, "COMPLETED", "Published", "~43 -5, 1,501 products"),
        ({"state": "refused", "refused": ["a", "b"]}, "FAILED", "Refused", "a; b"),
        ({"state": "skipped", "message": "another run works"}, "COMPLETED", "Skipped", "another run works"),
    ],
)
def test_each_end_has_a_name(fields: dict[str, Any], type_: str, name: str, message: str) -> None:
    state = end_state(run_report(**fields))
    assert (state.type.value, state.name, state.message) == (type_, name, message)


@pytest.mark.slow
@pytest.mark.services
def test_a_refused_run_is_not_green_and_gives_its_report(run: Reindex, prefect_api: str, tmp_path: Path) -> None:
    write_catalogue(tmp_path / "pictures", 6)
    run(channel="states")
    assert run(channel="states").state == "unchanged"
    write_catalogue(tmp_path / "others", 1)
    report = run(tmp_path / "others", channel="states")
    assert report.state == "refused"
    runs = httpx.post(f"{prefect_api}/flow_runs/filter", json={"sort": "START_TIME_ASC"}, timeout=30).json()
    ours = [one for one in runs if one["parameters"].get("channel") == "states"]
    assert [one["state_name"] for one in ours] == ["Published", "Unchanged", "Refused"]
    assert ours[2]["state_type"] == "FAILED"
    assert ours[2]["state"]["message"] == "; ".join(report.refused)
    assert ours[0]["name"] == f"reindex-states-{report.started_at:%Y-%m-%d}"
