"""What a run has around its stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.conftest import Reindex
from tests.support.otlp import receiving
from tests.support.pictures import write_catalogue

pytestmark = [pytest.mark.services, pytest.mark.slow]


def test_a_run_is_a_trace_of_its_stages(run: Reindex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_catalogue(tmp_path / "pictures", 3)
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_address[1]}")
        monkeypatch.setenv("LOOKALIKE_TRACES", "true")
        report = run()
        spans = receiver.spans()
    (root,) = (span for _, span in spans if span.name == "reindex")
    stages = [span for _, span in spans if span.parent_span_id == root.span_id]
    assert {span.name for span in stages} >= report.stage_seconds.keys() - {"report"}
    assert {span.trace_id for _, span in spans} == {root.trace_id}
    assert {sender["service.name"] for sender, _ in spans} == {"lookalike-batch"}
