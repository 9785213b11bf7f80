"""Handlers: whatever ends a request, the caller gets a problem."""

from __future__ import annotations

import logging
from typing import cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lookalike.data.errors import LookalikeError
from lookalike.serving.errors import ERROR_CODES, ProblemError, as_problem, sentence
from lookalike.serving.rest.problems import HttpProblemError, respond
from lookalike.serving.rest.requests import request_context

_log = logging.getLogger(__name__)


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
        allowed = _with_head(dict(error.headers or {}).get("Allow", "GET"))
        detail = f"{request.method} is not possible here: use {allowed}."
        return HttpProblemError("method_not_allowed", detail, allow=allowed)
    code = next((code for code, known in ERROR_CODES.items() if known.status == error.status_code), "bad_request")
    return ProblemError(code, sentence(str(error.detail)))


def _with_head(allowed: str) -> str:
    methods = allowed.split(", ")
    return ", ".join([*methods, "HEAD"]) if "GET" in methods and "HEAD" not in methods else allowed


async def _on_invalid(request: Request, error: Exception) -> Response:
    first = cast("RequestValidationError", error).errors()[0]
    name = str(first["loc"][-1])
    code = f"bad_{name}" if f"bad_{name}" in ERROR_CODES else "bad_field"
    return respond(request.scope, ProblemError(code, f"`{name}`: {sentence(first['msg'])}"))
