"""Where spans go: what `OTEL_TRACES_EXPORTER` names."""

from __future__ import annotations

import pytest

from lookalike.data.errors import InputError
from lookalike.data.spans import note_span, root_span, span, start_traces
from tests.support.otlp import receiving


@pytest.mark.parametrize("name", [None, "", "otlp", "otlp_proto_http"])
def test_spans_are_sent_over_http_if_nothing_else_is_asked_for(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_TRACES_EXPORTER", raising=False)
    if name is not None:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", name)
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_address[1]}")
        export("one")
        assert [sent.name for _, sent in receiver.spans()] == ["one"]


def test_spans_may_go_to_several_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp, otlp_proto_http")
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_address[1]}")
        export("one")
        first, second = (sent for _, sent in receiver.spans())
    assert first == second


def test_spans_may_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_address[1]}")
        export("one")
        assert receiver.requests == []


def test_an_exporter_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp,carrier_pigeon")
    with pytest.raises(InputError, match=r"no installed package exports to 'carrier_pigeon'.*console, none, otlp"):
        export("one")


def test_what_is_no_part_of_a_request_is_not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_address[1]}")
        _, end = start_traces("tests", "1")
        with span("decode"):
            note_span("queue", 0, 1)
        with root_span("query"), span("decode"):
            note_span("queue", 0, 1)
        end()
        names = [sent.name for _, sent in receiver.spans()]
    assert sorted(names) == ["decode", "query", "queue"]


def export(name: str) -> None:
    """Make one span, and wait until it is exported."""
    _, end = start_traces("tests", "1")
    with root_span(name):
        pass
    end()
