"""Problems: every error that a caller sees, as `application/problem+json` (RFC 9457) with a stable code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from data.errors import FilterError, ImageRejectedError, InputError, LookalikeError, UnknownProductError
from serving.kinds import KINDS
from serving.requests import request_id

MEDIA_TYPE = "application/problem+json"
PAGE = "/problems"
MAX_DETAIL = 2000  # letters


class ProblemError(LookalikeError):
    """A request ends with a problem: `code` is a key of `KINDS`, the message says what to do.

    Only so much of the message is kept: it may quote what the caller sent, and that may be megabytes.
    """

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail if len(detail) <= MAX_DETAIL else f"{detail[:MAX_DETAIL]} …")
        self.code = code
        self.headers = dict(headers or {})


def as_problem(error: LookalikeError) -> ProblemError:
    """Translate an error of the layers below; what no caller can help becomes `internal`."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, ImageRejectedError):
        code = f"image_{error.reason}"
        return ProblemError(code if code in KINDS else "image_unreadable", sentence(str(error)))
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), "internal")
    detail = str(error) if code != "internal" else "the server could not answer; try again, and tell its operator"
    return ProblemError(code, sentence(detail))


_CODES: Mapping[type[LookalikeError], str] = {
    UnknownProductError: "unknown_product",
    FilterError: "bad_filter",
    InputError: "bad_request",
}


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


def sentence(text: str) -> str:
    """Return `text` as a sentence: a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
