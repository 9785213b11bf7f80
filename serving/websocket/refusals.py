"""Refusals before a WebSocket is open: a problem, as HTTP answers it."""

from __future__ import annotations

import math

from starlette.types import Send

from lookalike.serving.errors import ERROR_CODES
from lookalike.serving.replies import encode, write_problem
from lookalike.serving.stream.messages import Problem

MEDIA_TYPE = "application/problem+json"


async def refuse(send: Send, refusal: Problem) -> None:
    """Answer an offer to open a WebSocket with a problem."""
    problem, known = refusal.problem, ERROR_CODES[refusal.problem.code]
    headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store", "x-request-id": refusal.request_id}
    if problem.retry_after is not None:
        headers["retry-after"] = str(math.ceil(problem.retry_after))
    if problem.code == "unauthorized":
        headers["www-authenticate"] = 'Bearer realm="lookalike"'
    body = encode(write_problem(problem, refusal.request_id))
    written = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "websocket.http.response.start", "status": known.status, "headers": written})
    await send({"type": "websocket.http.response.body", "body": body})
