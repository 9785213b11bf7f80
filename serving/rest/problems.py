"""Problems: every request that fails is answered with `application/problem+json` (RFC 9457) and a stable code."""

from __future__ import annotations

import json
import logging
import math
from typing import cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from lookalike.data.errors import LookalikeError
from lookalike.serving.access.refusals import RefusedError
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.errors import ProblemError, as_problem, sentence
from lookalike.serving.replies import write_problem
from lookalike.serving.rest.requests import request_context

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)


class HttpProblemError(ProblemError):
    """A problem with what only HTTP has.

    `allow` names the methods that an address takes. `close` ends the connection: nothing more is read of it.
    """

    def __init__(
        self, code: str, detail: str, *, retry_after: float | None = None, allow: str = "", close: bool = False
    ) -> None:
        super().__init__(code, detail, retry_after=retry_after)
        self.allow = allow
        self.close = close


def respond(scope: Scope, problem: ProblemError, *, close: bool = False) -> Response:
    """Return the response that tells a problem; `close` ends the connection after it."""
    return Response(
        json.dumps(write_problem(problem, request_context(scope).id), ensure_ascii=False),
        status_code=ERROR_CODES[problem.code].status,
        media_type=MEDIA_TYPE,
        headers=_headers(problem, close=close),
    )


def _headers(problem: ProblemError, *, close: bool) -> dict[str, str]:
    headers = {"cache-control": "no-store"}
    if problem.retry_after is not None:
        headers["retry-after"] = str(math.ceil(problem.retry_after))
    if isinstance(problem, RefusedError):
        headers |= _challenge(problem)
    if isinstance(problem, HttpProblemError):
        close = close or problem.close
        headers |= {"allow": problem.allow} if problem.allow else {}
    return headers | ({"connection": "close"} if close else {})


def _challenge(refusal: RefusedError) -> dict[str, str]:
    """RFC 6750: what to send, and what was wrong with what was sent."""
    if refusal.code == "unauthorized":
        wrong = "" if refusal.reason == "no_credentials" else ', error="invalid_token"'
    elif refusal.scope is not None:
        wrong = f', error="insufficient_scope", scope="{refusal.scope}"'
    else:
        return {}
    return {"www-authenticate": f'Bearer realm="lookalike"{wrong}'}


def install_handlers(app: FastAPI) -> None:
    """Let every error that the application raises end as a problem; bugs are caught outside, by `Tracing`."""
    app.add_exception_handler(LookalikeError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)


async def _on_error(request: Request, error: Exception) -> Response:
    problem = as_problem(cast("LookalikeError", error))
    if problem.code == "internal":
        _log.error("request %s failed: %s", request_context(request.scope).id, error, exc_info=error)
    return respond(request.scope, problem)


async def _on_http_error(request: Request, error: Exception) -> Response:
    found = cast("HTTPException", error)
    problem = _from_http(request, found)
    return respond(request.scope, problem)


def _from_http(request: Request, error: HTTPException) -> ProblemError:
    if error.status_code == 404:
        return ProblemError("not_found", f"There is nothing at {request.url.path}: /docs lists what there is.")
    if error.status_code == 405:
        allowed = ", ".join(_find_methods(request))
        detail = f"{request.method} is not possible here: use {allowed}."
        return HttpProblemError("method_not_allowed", detail, allow=allowed)
    code = next((code for code, known in ERROR_CODES.items() if known.status == error.status_code), "bad_request")
    return ProblemError(code, sentence(str(error.detail)))


def _find_methods(request: Request) -> list[str]:
    """Return all methods that the address of a request takes: each of them may have a route of its own."""
    routes = (route for route in request.app.routes if isinstance(route, Route))
    there = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in there for method in route.methods or ()}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


async def _on_invalid(request: Request, error: Exception) -> Response:
    first = cast("RequestValidationError", error).errors()[0]
    if first["type"] == "json_invalid":
        return respond(request.scope, ProblemError("malformed_json", "The body is no JSON: send an object."))
    name = str(first["loc"][-1])
    code = f"bad_{name}" if f"bad_{name}" in ERROR_CODES else "bad_field"
    return respond(request.scope, ProblemError(code, f"`{name}`: {sentence(first['msg'])}"))
