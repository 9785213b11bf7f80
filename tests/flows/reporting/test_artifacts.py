"""Artifacts: what a real Prefect server keeps for its UI, and what the UI makes of a picture."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from prefect import flow

from lookalike.data.catalogue.rejects import Reject
from lookalike.flows.reporting import artifacts
from lookalike.flows.reporting.artifacts import SHOWN_PICTURE_BYTES, artifact_key, duration, figures_table, plain, size
from tests.support.reports import run_report
from tests.support.servers import as_prefect_client

pytestmark = pytest.mark.slow  # Prefect takes seconds to import

Show = Callable[[Callable[[], None]], dict[str, dict[str, Any]]]


@pytest.fixture
def show(prefect_api: str) -> Iterator[Show]:
    """Run artifact makers in a flow run; return what the server then has of that run, by key."""

    def run(make: Callable[[], None]) -> dict[str, dict[str, Any]]:
        state = flow(name="shows")(make)(return_state=True)
        assert state.is_completed()
        wanted = {"artifacts": {"flow_run_id": {"any_": [str(state.state_details.flow_run_id)]}}}
        found = httpx.post(f"{prefect_api}/artifacts/filter", json=wanted, timeout=30).json()
        return {artifact["key"]: artifact for artifact in found}

    with as_prefect_client(prefect_api):
        yield run


def noise(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.services
def test_figures_stand_beside_those_of_the_last_five_runs(show: Show) -> None:
    earlier = [run_report(number, figures={"recall_at_10": 0.9 + number / 100}) for number in range(8, 0, -1)]
    report = run_report(9, message="published it", worker_peak_bytes=812_000_000, seconds=4000)
    found = show(lambda: figures_table(report, earlier))["figures-current"]
    rows = {row["figure"]: row for row in json.loads(found["data"])}
    assert list(rows["state"]) == ["figure", "this run", *(f"{day} Nov 03:00" for day in (30, 29, 28, 27, 26))]
    assert rows["recall_at_10"]["this run"] == "0.997"
    assert rows["recall_at_10"]["30 Nov 03:00"] == "0.98"
    assert (rows["query_ms"]["this run"], rows["query_ms"]["30 Nov 03:00"]) == ("0.25", "—")
    assert (rows["products"]["this run"], rows["whole run"]["this run"]) == ("1,509", "66 min 40 s")
    assert rows["stage embed"]["26 Nov 03:00"] == "40.2 s"
    assert rows["a worker's peak memory"]["this run"] == "812.0 MB"
    assert f"Snapshot `{report.snapshot}`" in found["description"]


@pytest.mark.services
def test_runs_of_one_minute_do_not_hide_each_other(show: Show) -> None:
    first = run_report(1)
    second = run_report(1, started_at=first.started_at + timedelta(seconds=20))
    data = show(lambda: figures_table(run_report(2), [second, first]))["figures-current"]["data"]
    assert '"23 Nov 03:00:20"' in data
    assert '"23 Nov 03:00:00"' in data


@pytest.mark.services
def test_all_of_a_run_is_shown(show: Show) -> None:
    report = run_report(state="refused", channel="my.canary_2")
    reject = Reject("a_b*c*", "http://x/<b>.png", "decode", "damaged", "cut\noff " + "x" * 500)

    def make() -> None:
        artifacts.rejects_table(
            report.channel, [reject] * 150, total=1500, reasons={"missing": 2, "damaged": 1498}, stored="rejects/r"
        )
        artifacts.catalogue_diff(report, {"added": [f"id {n}" for n in range(12)], "removed": ["gone"] * 5})
        artifacts.contact_sheet_artifact(report.channel, noise(20), stored="contact-sheets/r.png", store="s3://shop/l/")
        artifacts.snapshot_link(report, "s3://shop/l", "http://search:8000/")
        artifacts.snapshot_link(run_report(state="failed", snapshot=None), "s3://shop/l")

    found = show(make)
    assert found.keys() == {f"{name}-my-canary-2" for name in ("rejects", "catalogue", "contact-sheet", "snapshot")}
    rejects = found["rejects-my-canary-2"]
    assert rejects["description"] == (
        "**1,500 products were left out**: 1,498 damaged, 2 missing. 100 of them are shown. All are in `rejects/r`."
    )
    assert rejects["data"].count("a_b\\\\*c\\\\*") == 100
    assert "x" * 201 not in rejects["data"]
    examples = [row["for example"] for row in json.loads(found["catalogue-my-canary-2"]["data"])]
    assert examples == ["id 0, id 1, id 2, id 3, id 4, …", "—", "—", "gone, gone, gone, gone, gone"]
    sheet = found["contact-sheet-my-canary-2"]["data"]
    assert "](data:image/png;base64,iVBOR" in sheet
    assert "`s3://shop/l/contact-sheets/r.png`" in sheet
    snapshot = found["snapshot-my-canary-2"]["data"]
    assert "(http://search:8000/v1/snapshots/current)" in snapshot
    assert f"promote {report.snapshot} --store s3://shop/l --channel my.canary_2 --force" in snapshot


@pytest.mark.services
def test_nothing_left_out_is_said_too(show: Show) -> None:
    found = show(lambda: artifacts.rejects_table("current", [], total=0, reasons={}, stored=None))
    assert found["rejects-current"]["description"] == "Every product could be used."


@pytest.mark.services
def test_a_picture_too_large_for_the_ui_is_named_only(show: Show) -> None:
    png = noise(600)
    assert len(png) > SHOWN_PICTURE_BYTES
    found = show(lambda: artifacts.contact_sheet_artifact("current", png, stored="contact-sheets/r.png", store="/s"))
    assert found["contact-sheet-current"]["data"] == (
        "The contact sheet has 1.1 MB, too much to be shown here.\n\nIt is kept as `/s/contact-sheets/r.png`."
    )


def test_a_server_that_is_away_fails_nothing(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise httpx.ConnectError("nobody there")

    monkeypatch.setattr(artifacts, "create_table_artifact", away)
    artifacts.catalogue_diff(run_report(), {})
    assert "artifacts: catalogue_diff could not be shown: nobody there" in caplog.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("shoes/a_b_c.png", "shoes/a_b_c.png"),
        ("_x_ *y* `z`", r"\_x\_ \*y\* \`z\`"),
        ("[x](http://y) <b>", r"\[x](http://y) \<b>"),
        ("C:\\temp\nnew", r"C:\\temp new"),
    ],
)
def test_what_a_catalogue_says_is_no_markup(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_words_for_numbers() -> None:
    assert [duration(seconds) for seconds in (0.04, 119.9, 120, 3599.6, 90_000)] == [
        *("0.0 s", "119.9 s", "2 min 0 s", "60 min 0 s"),
        "25 h 0 min",
    ]
    assert [size(count) for count in (999, 1000, 12_345_678, 5 * 10**13)] == [
        "999 bytes",
        "1.0 kB",
        "12.3 MB",
        "50.0 TB",
    ]
    assert artifact_key("rejects", "a..b_-") == "rejects-a-b"
