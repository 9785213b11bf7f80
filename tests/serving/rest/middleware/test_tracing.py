"""Traces, sent to a real receiver by the standard instrumentation; and what it says where that is not installed."""

from __future__ import annotations

import sys

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from lookalike.data.errors import InputError
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from tests.serving.conftest import make_settings
from tests.support.client import running
from tests.support.otlp import receiving
from tests.support.shop import Shop, picture

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-1bf7651916cd43dd8448eb211c80319d-b7ad6b7169203332-01"


def test_requests_become_spans(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.instrumentation.fastapi")
    manifest = shop.publish(8)
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_address[1]}")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=tests")
        with running(create_app(Runtime(make_settings(shop.folder, traces=True)))) as client:
            client.wait(lambda state: state["ready"])
            headers = {"traceparent": PARENT}
            found = client.post("/v1/search", json={"product_id": "a"}, headers=headers)
            assert found.json()["snapshot"] == manifest.id
            assert client.search(k=0).status_code == 422
            pictured = client.post(
                "/v1/search", files={"image": ("x.png", picture(700))}, headers={"traceparent": OTHER}
            )
            assert pictured.status_code == 200
            plain = client.get("/metrics")
            assert "trace_id" not in plain.text
            metrics = client.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1"})
        parsed = text_string_to_metric_families(metrics.text)  # type: ignore[no-untyped-call]
        families = {one.name: one for one in parsed}
        samples = families["lookalike_request_seconds"].samples
        traced = {one.exemplar.labels["trace_id"] for one in samples if one.exemplar is not None}
        assert traced & {PARENT.split("-")[1], OTHER.split("-")[1]}
        spans = receiver.spans()
    asked = [(sender, span) for sender, span in spans if span.name == "POST /v1/search"]
    assert len(asked) == 3
    assert all(sender["service.name"] == "lookalike" for sender, _ in spans)
    assert all(sender["deployment.environment"] == "tests" for sender, _ in spans)
    assert asked[0][1].trace_id.hex() == PARENT.split("-")[1]
    assert asked[0][1].parent_span_id.hex() == PARENT.split("-")[2]
    of_picture = [span for _, span in spans if span.trace_id.hex() == OTHER.split("-")[1]]
    root = next(span for span in of_picture if span.name == "POST /v1/search")
    stages = {span.name: span for span in of_picture if span.parent_span_id == root.span_id}
    assert {"decode", "queue", "encode", "search", "write"} <= stages.keys()
    in_order = [stages[name] for name in ("decode", "queue", "encode", "search", "write")]
    assert [span.start_time_unix_nano for span in in_order] == sorted(span.start_time_unix_nano for span in in_order)
    assert root.start_time_unix_nano <= in_order[0].start_time_unix_nano
    assert in_order[-1].end_time_unix_nano <= root.end_time_unix_nano
    assert {span.trace_id for _, span in spans} == {span.trace_id for _, span in asked}  # no metrics, no probes


def test_without_the_setting_nothing_of_it_is_imported(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.fastapi", None)  # importing it now fails
    with running(create_app(Runtime(make_settings(shop.folder)))) as client:
        assert client.get("/livez").status_code == 200


def test_without_the_extra_it_says_what_to_install(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.fastapi", None)
    with pytest.raises(InputError, match=r"pip install 'lookalike\[otel\]'"):
        create_app(Runtime(make_settings(shop.folder, traces=True)))
