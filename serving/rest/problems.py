"""Problems: every error that a caller sees, as `application/problem+json` (RFC 9457) with a stable code."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from lookalike.serving.context import request_id
from lookalike.serving.errors import KINDS, ProblemError

MEDIA_TYPE = "application/problem+json"
PAGE = "/problems"


def respond(scope: Scope, problem: ProblemError) -> Response:
    """Return the response that tells a problem."""
    return Response(
        json.dumps(document(problem, request_id(scope)), ensure_ascii=False),
        status_code=KINDS[problem.code].status,
        media_type=MEDIA_TYPE,
        headers={"cache-control": "no-store", **problem.headers},
    )


def document(problem: ProblemError, request: str) -> dict[str, Any]:
    """Return a problem as it is written."""
    kind = KINDS[problem.code]
    return {
        "type": type_of(problem.code),
        "title": kind.title,
        "status": kind.status,
        "detail": str(problem),
        "code": problem.code,
        "request_id": request,
    }


def type_of(code: str) -> str:
    """Return what identifies a code: the address of its section on this server's page of problems."""
    return f"{PAGE}#{code}"
