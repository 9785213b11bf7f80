"""Spans of OpenTelemetry, for both tiers: what a request or a run waited for. Without traces they cost nothing.

`OTEL_TRACES_EXPORTER`, `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER` and the like say where spans go, and which.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from lookalike.data.errors import InputError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

_EXPORTERS = "opentelemetry_traces_exporter"
_OTLP = "otlp_proto_http"
_tracers: list[Tracer] = []
"""The one that is used comes last; none where there are no traces."""
_NO_SPAN = nullcontext()


def start_traces(service: str, version: str) -> tuple[TracerProvider, Callable[[], None]]:
    """Export spans from now on; return their provider, and what exports the last ones and ends it.

    Raises `InputError` where the extra `otel`, or an exporter that is asked for, is not installed.
    """
    try:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise InputError(f"traces need the extra `otel`: pip install 'lookalike[otel]' ({error})") from error
    named = Resource({"service.name": service, "service.version": version})
    provider = TracerProvider(resource=Resource.create().merge(named).merge(OTELResourceDetector().detect()))
    for exporter in _make_exporters():
        provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("lookalike")
    _tracers.append(tracer)

    def end() -> None:
        _tracers.remove(tracer)
        provider.shutdown()

    return provider, end


def _make_exporters() -> list[SpanExporter]:
    """Make what `OTEL_TRACES_EXPORTER` names, as OpenTelemetry's own start does; OTLP over HTTP where it is not set."""
    names = [name.strip() for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")]
    return [_make_exporter(_OTLP if name == "otlp" else name) for name in names if name != "none"]


def _make_exporter(name: str) -> SpanExporter:
    found = entry_points(group=_EXPORTERS, name=name)
    if not found:
        known = ", ".join(sorted({"otlp", "none", *entry_points(group=_EXPORTERS).names}))
        raise InputError(f"OTEL_TRACES_EXPORTER: no installed package exports to {name!r}; installed are {known}")
    made: SpanExporter = found[name].load()()
    return made


def root_span(name: str, parent: str | None = None) -> AbstractContextManager[object]:
    """Let what happens meanwhile be a request or a run: a trace of its own, or a part of what a `traceparent` names."""
    if not _tracers:
        return _NO_SPAN
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier = {"traceparent": parent} if parent else {}
    caller = TraceContextTextMapPropagator().extract(carrier, Context())
    return _tracers[-1].start_as_current_span(name, caller)


def span(name: str) -> AbstractContextManager[object]:
    """Let what happens meanwhile be a span of the request or run that is being worked on, if there is one."""
    return _tracers[-1].start_as_current_span(name) if _is_traced() else _NO_SPAN


def note_span(name: str, started: float, ended: float) -> None:
    """Add a span for what happened elsewhere, between two times of the monotonic clock."""
    if not _is_traced():
        return
    to_wall = time.time_ns() - time.monotonic_ns()
    made = _tracers[-1].start_span(name, start_time=to_wall + int(started * 1e9))
    made.end(to_wall + int(ended * 1e9))


def _is_traced() -> bool:
    """Tell whether there is a trace to add to: what a server asks itself belongs to none."""
    if not _tracers:
        return False
    from opentelemetry.trace import get_current_span  # noqa: PLC0415

    return get_current_span().get_span_context().is_valid


def trace_ids() -> dict[str, str]:
    """Return the ids of the current trace and span, for logs; none where there are no traces."""
    if not _tracers:
        return {}
    from opentelemetry.trace import format_span_id, format_trace_id, get_current_span  # noqa: PLC0415

    current = get_current_span().get_span_context()
    if not current.is_valid:
        return {}
    return {"trace_id": format_trace_id(current.trace_id), "span_id": format_span_id(current.span_id)}


def has_traces() -> bool:
    """Tell whether spans are sent."""
    return bool(_tracers)


def exemplar() -> dict[str, str] | None:
    """Return the label that leads from a measured value to its trace; None where no trace is kept."""
    if not _tracers:
        return None
    from opentelemetry.trace import format_trace_id, get_current_span  # noqa: PLC0415

    current = get_current_span().get_span_context()
    return {"trace_id": format_trace_id(current.trace_id)} if current.trace_flags.sampled else None
