"""The outermost layer: gives each request its id, measures it, and turns a bug into a problem.

A setting turns OpenTelemetry traces on. The instrumentation is the standard one, and so are the variables that say
where it sends them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike.data.errors import InputError
from lookalike.data.spans import start_traces
from lookalike.serving.asgi import find_header
from lookalike.serving.context import RequestContext, answering
from lookalike.serving.errors import ProblemError
from lookalike.serving.rest.problems import respond
from lookalike.serving.rest.requests import request_context
from lookalike.serving.telemetry import version
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.serving.telemetry.requests import measure_request

HEADER = b"x-request-id"
CLIENT_GONE = 499  # as nginx writes it: nobody was left to answer

_SANE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_log = logging.getLogger(__name__)

NAME = "lookalike"
UNTRACED = "livez,readyz,metrics,static"
"""Addresses that are asked all the time, and tell nothing."""


class Tracing:
    """Pure ASGI, so that nothing below can escape it."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, access_log: bool = False) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = request_context(scope)
        request.id = _given_id(scope) or request.id
        with answering(request):
            await self._answer(scope, receive, _Exchange(request, send), request)

    async def _answer(self, scope: Scope, receive: Receive, exchange: _Exchange, request: RequestContext) -> None:
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            _log.debug("request %s: the client hung up before its body was complete", request.id)
        except Exception:
            _log.exception("request %s failed: %s %s", request.id, scope["method"], scope["path"])
            if exchange.status is not None:
                raise  # half an answer is out: only closing the connection can tell
            detail = "The server failed to answer. Try again, and tell its operator this request id."
            await respond(scope, ProblemError("internal", detail))(scope, receive, exchange.send)
        finally:
            self._measure(scope, exchange.status or CLIENT_GONE, request)

    def _measure(self, scope: Scope, status: int, request: RequestContext) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = _template(scope)
        measure_request(self._metrics, request, method=method, route=route, status=status, log=self._access_log)


class _Exchange:
    """Adds headers to the answer and remembers its status."""

    def __init__(self, request: RequestContext, send: Send) -> None:
        self.status: int | None = None
        self._request = request
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (HEADER, self._request.id.encode())]
        await self._send(message)


def _given_id(scope: Scope) -> str | None:
    given = find_header(scope, HEADER)
    return given if given is not None and _SANE.fullmatch(given) else None


def _template(scope: Scope) -> str:
    route: Any = scope.get("route")
    return str(getattr(route, "path", None) or "unmatched")


def trace(app: FastAPI) -> Callable[[], None]:
    """Let every request be a span, with its stages below it; return what sends the last ones and ends it.

    Raises `InputError` where the extra `otel` is not installed.
    """
    try:
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415
    except ImportError as error:
        raise InputError(f"traces need the extra `otel`: pip install 'lookalike[otel]' ({error})") from error
    provider, end = start_traces(NAME, version())
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, excluded_urls=UNTRACED)
    return end
