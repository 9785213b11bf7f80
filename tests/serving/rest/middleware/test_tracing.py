"""Traces, sent to a real receiver by the standard instrumentation; and what it says where that is not installed."""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lookalike.data.errors import InputError
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from tests.serving.conftest import make_settings
from tests.support.client import running
from tests.support.shop import Shop

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Receiver(ThreadingHTTPServer):
    """Takes OTLP over HTTP, and keeps what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visitor)
        self.requests: list[tuple[str, bytes]] = []

    def spans(self) -> list[tuple[dict[str, str], Any]]:
        """Return each span with the attributes of what sent it."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        found = []
        for path, body in self.requests:
            assert path == "/v1/traces"
            for sender in ExportTraceServiceRequest.FromString(body).resource_spans:
                attributes = {one.key: one.value.string_value for one in sender.resource.attributes}
                found += [(attributes, span) for scope in sender.scope_spans for span in scope.spans]
        return found


class Visitor(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called there
        """Say nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        thread.join()
        receiver.server_close()


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
            client.get("/metrics")
        spans = receiver.spans()
    asked = [(sender, span) for sender, span in spans if span.name == "POST /v1/search"]
    assert len(asked) == 2
    assert all(sender["service.name"] == "lookalike" for sender, _ in spans)
    assert all(sender["deployment.environment"] == "tests" for sender, _ in spans)
    assert asked[0][1].trace_id.hex() == PARENT.split("-")[1]
    assert asked[0][1].parent_span_id.hex() == PARENT.split("-")[2]
    assert not [span.name for _, span in spans if "metrics" in span.name or "readyz" in span.name]


def test_without_the_setting_nothing_of_it_is_imported(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.fastapi", None)  # importing it now fails
    with running(create_app(Runtime(make_settings(shop.folder)))) as client:
        assert client.get("/livez").status_code == 200


def test_without_the_extra_it_says_what_to_install(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.fastapi", None)
    with pytest.raises(InputError, match=r"pip install 'lookalike\[otel\]'"):
        create_app(Runtime(make_settings(shop.folder, traces=True)))
