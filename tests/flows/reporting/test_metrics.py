"""Batch metrics: what a scraper would read, from a file and from a gateway."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lookalike.data.reports import RunReport
from lookalike.flows.reporting.metrics import push_metrics, textfile
from lookalike.flows.runtime.settings import BatchSettings
from tests.support.receiver import receiver
from tests.support.reports import run_report
from tests.support.servers import ROOT

pytestmark = pytest.mark.slow  # Prefect takes seconds to import


def settings(**values: Any) -> BatchSettings:
    return BatchSettings(**{"metrics_textfile": None, "metrics_pushgateway": None, **values})


def read(text: str) -> dict[str, float]:
    return {
        f"{sample.name}{{{','.join(f'{k}={v}' for k, v in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def told(folder: Path, report: RunReport) -> dict[str, float]:
    push_metrics(settings(metrics_textfile=str(folder)), report)
    return read(textfile(str(folder), report).read_text())


def test_a_run_in_figures(tmp_path: Path) -> None:
    report = run_report()
    found = told(tmp_path, report)
    of = "channel=current,kind=reindex"
    assert found[f"lookalike_batch_pictures{{{of},source=embedded}}"] == 15
    assert found[f"lookalike_batch_pictures{{{of},source=reused}}"] == 1481
    assert found[f"lookalike_batch_rejects{{{of},reason=damaged}}"] == 4
    assert found[f"lookalike_batch_rejects{{{of},reason=other}}"] == 1
    assert found[f"lookalike_batch_products{{{of}}}"] == 1501
    assert found[f"lookalike_batch_product_changes{{change=changed_text,{of}}}"] == 40
    assert found[f"lookalike_batch_stage_seconds{{{of},stage=embed}}"] == 40.25
    assert found[f"lookalike_batch_run_seconds{{{of}}}"] == 61.5
    assert found[f"lookalike_batch_figure{{{of},name=recall_at_10}}"] == 0.997
    assert found[f"lookalike_batch_run_state{{{of},state=published}}"] == 1
    assert found[f"lookalike_batch_run_state{{{of},state=failed}}"] == 0
    ended = report.started_at.timestamp() + 61.5
    assert found[f"lookalike_batch_last_run_timestamp_seconds{{{of}}}"] == ended
    assert found[f"lookalike_batch_last_success_timestamp_seconds{{{of}}}"] == ended
    made = datetime(2026, 11, 23, 3, tzinfo=UTC).timestamp()
    assert found[f"lookalike_batch_snapshot_created_timestamp_seconds{{{of}}}"] == made
    assert [path.name for path in tmp_path.iterdir()] == ["lookalike-current-reindex.prom"]


@pytest.mark.parametrize("state", ["failed", "refused", "cancelled", "unpublished"])
def test_what_a_bad_run_cannot_say_stays(tmp_path: Path, state: str) -> None:
    good = told(tmp_path, run_report(1))
    bad = told(tmp_path, run_report(2, state=state))
    of = "{channel=current,kind=reindex}"
    created, success = (
        f"lookalike_batch_{name}_timestamp_seconds{of}" for name in ("snapshot_created", "last_success")
    )
    assert bad[created] == good[created]
    assert (bad[success] == good[success]) == (state != "unpublished")
    assert bad[f"lookalike_batch_last_run_timestamp_seconds{of}"] > good[success]
    assert bad[f"lookalike_batch_run_state{{channel=current,kind=reindex,state={state}}}"] == 1


def test_a_first_run_that_fails_has_no_success_to_tell(tmp_path: Path) -> None:
    found = told(tmp_path, run_report(state="failed", snapshot=None))
    assert not [name for name in found if "last_success" in name or "snapshot_created" in name]


def test_channels_and_kinds_have_files_of_their_own(tmp_path: Path) -> None:
    for channel in ("current", "canary"):
        told(tmp_path, run_report(channel=channel, kind="refresh"))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_skipped_run_leaves_what_the_one_before_said(tmp_path: Path) -> None:
    before = told(tmp_path, run_report(1, state="failed"))
    assert told(tmp_path, run_report(2, state="skipped")) == before


def test_a_gateway_is_told_under_its_own_group() -> None:
    with receiver() as gateway:
        push_metrics(settings(metrics_pushgateway=gateway.url), run_report())
        push_metrics(settings(metrics_pushgateway=gateway.url), run_report(2, state="failed"))
    good, bad = gateway.requests
    assert (good.method, good.path) == ("POST", "/metrics/job/lookalike/channel/current/kind/reindex")
    assert read(good.body)["lookalike_batch_run_seconds{channel=current,kind=reindex}"] == 61.5
    assert "last_success" in good.body
    assert "last_success" not in bad.body  # the gateway keeps what it has
    assert "last_run" in bad.body


@pytest.mark.parametrize("trouble", ["refuses", "away", "no address", "no folder"])
def test_a_run_does_not_fail_for_it(trouble: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with receiver() as gateway:
        gateway.status = 500
        targets = {
            "refuses": {"metrics_pushgateway": gateway.url},
            "away": {"metrics_pushgateway": "http://127.0.0.1:9"},
            "no address": {"metrics_pushgateway": "http://[nowhere"},
            "no folder": {"metrics_textfile": str(tmp_path / "nothing")},
        }
        push_metrics(settings(**targets[trouble]), run_report())
    assert "did not receive the figures of this run" in caplog.text


def test_nothing_is_told_where_nobody_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    push_metrics(settings(), run_report())
    assert list(tmp_path.iterdir()) == []


def test_what_the_guide_names_is_there(tmp_path: Path) -> None:
    named = set(re.findall(r"lookalike_batch_\w+", (ROOT / "docs" / "operations.md").read_text()))
    assert named == {name.partition("{")[0] for name in told(tmp_path, run_report())}
