"""Problems: every error that a caller sees, as `application/problem+json` (RFC 9457) with a stable code."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from lookalike.serving.access.refusals import RefusedError
from lookalike.serving.errors import ERROR_CODES, ProblemError
from lookalike.serving.rest.requests import request_context

MEDIA_TYPE = "application/problem+json"
PAGE = "/problems"


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
        json.dumps(document(problem, request_context(scope).id), ensure_ascii=False),
        status_code=ERROR_CODES[problem.code].status,
        media_type=MEDIA_TYPE,
        headers=_headers(problem, close=close),
    )


def document(problem: ProblemError, request: str) -> dict[str, Any]:
    """Return a problem as it is written."""
    known = ERROR_CODES[problem.code]
    return {
        "type": type_of(problem.code),
        "title": known.title,
        "status": known.status,
        "detail": str(problem),
        "code": problem.code,
        "request_id": request,
    }


def type_of(code: str) -> str:
    """Return what identifies a code: the address of its section on this server's page of problems."""
    return f"{PAGE}#{code}"


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
