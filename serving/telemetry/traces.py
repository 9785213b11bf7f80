"""OpenTelemetry traces by setting: the standard instrumentation, told where to send by the standard variables."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from lookalike.data.errors import InputError
from lookalike.serving.telemetry.version import version

NAME = "lookalike"
UNTRACED = "livez,readyz,metrics,static"
"""Addresses that are asked all the time, and tell nothing."""


def trace(app: FastAPI) -> Callable[[], None]:
    """Let every request be a span, sent over OTLP and HTTP; return what sends the last ones and ends it.

    `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` and the like say where and what. Raises
    `InputError` where the extra `otel` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise InputError(f"traces need the extra `otel`: pip install 'lookalike[otel]' ({error})") from error
    named = Resource({"service.name": NAME, "service.version": version()})
    provider = TracerProvider(resource=Resource.create().merge(named).merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, excluded_urls=UNTRACED)
    return provider.shutdown
