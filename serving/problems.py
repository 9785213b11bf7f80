"""Problems: every error that a caller sees, as `application/problem+json` (RFC 9457) with a stable code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from data.errors import FilterError, ImageRejectedError, InputError, LookalikeError, UnknownProductError
from serving.requests import request_id

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of one code share."""

    status: int
    title: str


KINDS: Mapping[str, Kind] = {
    "malformed_json": Kind(400, "The body is not valid JSON"),
    "malformed_multipart": Kind(400, "The form cannot be read"),
    "malformed_base64": Kind(400, "The picture is not valid base64"),
    "bad_request": Kind(400, "The request cannot be understood"),
    "unauthorized": Kind(401, "This takes a valid API key or token"),
    "forbidden": Kind(403, "You may not do this"),
    "cross_origin_refused": Kind(403, "Pages of this web site may not ask"),
    "not_found": Kind(404, "There is nothing here"),
    "unknown_product": Kind(404, "No such product"),
    "image_missing": Kind(404, "The product's picture is not there"),
    "method_not_allowed": Kind(405, "This address takes another method"),
    "request_timeout": Kind(408, "The body did not arrive in time"),
    "body_too_large": Kind(413, "The body is too large"),
    "image_too_many_bytes": Kind(413, "The picture has too many bytes"),
    "image_too_many_pixels": Kind(413, "The picture has too many pixels"),
    "unsupported_media_type": Kind(415, "This kind of body is not supported"),
    "image_unsupported_format": Kind(415, "This format of pictures is not supported"),
    "no_query": Kind(422, "There is nothing to search for"),
    "several_queries": Kind(422, "There is more than one thing to search for"),
    "unknown_field": Kind(422, "There is a field that means nothing here"),
    "bad_field": Kind(422, "A field has the wrong type or value"),
    "bad_k": Kind(422, "`k` is out of range"),
    "bad_offset": Kind(422, "`offset` is out of range"),
    "bad_limit": Kind(422, "`limit` is out of range"),
    "bad_filter": Kind(422, "A filter cannot be understood"),
    "too_many_filters": Kind(422, "There are too many filters"),
    "unknown_attribute": Kind(422, "No product has this attribute"),
    "vector_length": Kind(422, "The vector has the wrong length"),
    "vector_not_finite": Kind(422, "The vector holds NaN or Infinity"),
    "vector_zero": Kind(422, "The vector has no direction"),
    "image_empty": Kind(422, "The picture is empty"),
    "image_not_an_image": Kind(422, "This is not a picture"),
    "image_damaged": Kind(422, "The picture is damaged"),
    "image_too_small": Kind(422, "The picture is too small"),
    "overloaded": Kind(429, "The server is busy"),
    "rate_limited": Kind(429, "You ask too often"),
    "internal": Kind(500, "Something went wrong here"),
    "image_unreadable": Kind(502, "The product's picture cannot be read"),
    "not_ready": Kind(503, "No snapshot is being served yet"),
    "access_unavailable": Kind(503, "Tokens cannot be verified right now"),
    "deadline_exceeded": Kind(504, "The answer took too long"),
}


class ProblemError(LookalikeError):
    """A request ends with a problem: `code` is a key of `KINDS`, the message says what to do."""

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
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
        "type": f"urn:lookalike:problem:{problem.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": str(problem),
        "code": problem.code,
        "request_id": request,
    }


def sentence(text: str) -> str:
    """Return `text` as a sentence: a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
