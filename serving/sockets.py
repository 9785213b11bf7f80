"""WebSockets, for every gateway that answers over one: what is offered beyond ASGI, who may open one, and refusals."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope, Send

from lookalike.serving.access.admission import AccessRequest, Operation
from lookalike.serving.asgi import client_address, find_credentials, is_local, server_port
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.errors import ProblemError
from lookalike.serving.replies import encode, write_problem

EXTENSION = "lookalike"
"""Under this name the server offers a `Connection` in a scope's extensions."""
FIRST_BYTES = 16 * 2**10
"""Of a message before its sender is known: enough for a key, and no more for whoever has none."""
MEDIA_TYPE = "application/problem+json"


def _ignore(_: int) -> None:
    """For servers that bound messages in another way."""


def _watch_nothing(_: Callable[[int], bool]) -> None:
    """For servers that count in another way."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What a server offers of a connection.

    Attributes:
        stopping: set before the server stops.
        limit_messages: bounds the bytes of a message.
        watch: takes what is asked, with the bytes of a message that was not taken yet, whether there is room for them.
    """

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    limit_messages: Callable[[int], None] = _ignore
    watch: Callable[[Callable[[int], bool]], None] = _watch_nothing


def find_connection(scope: Scope) -> Connection:
    """Return what the server offers, or what does without."""
    offered = scope.get("extensions", {}).get(EXTENSION)
    return offered if isinstance(offered, Connection) else Connection()


def check_offer(scope: Scope, parameters: bytes, origins: Iterable[str]) -> None:
    """Raise `ProblemError` for an offer with parameters, and for one of a page that may not ask.

    Pages of this site may open a WebSocket, and those that CORS lets ask (`origins`); what is no browser sends no
    `Origin`.
    """
    if parameters:
        detail = "This address takes no parameters: send a key in a header, or in the first message."
        raise ProblemError("bad_request", detail)
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is None or origin in origins or "*" in origins:
        return
    if urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise ProblemError("cross_origin_refused", "Pages of this web site may not open a stream.")


def describe_access(scope: Scope, path: str) -> AccessRequest:
    """Return what admission decides about."""
    return AccessRequest(
        Operation.SEARCH,
        find_credentials(scope),
        address=client_address(scope),
        is_local=is_local(scope),
        port=server_port(scope),
        method="GET",
        path=path,
    )


async def refuse(send: Send, problem: ProblemError, request_id: str) -> None:
    """Answer an offer to open a WebSocket with a problem."""
    known = ERROR_CODES[problem.code]
    headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store", "x-request-id": request_id}
    if problem.retry_after is not None:
        headers["retry-after"] = str(math.ceil(problem.retry_after))
    if problem.code == "unauthorized":
        headers["www-authenticate"] = 'Bearer realm="lookalike"'
    body = encode(write_problem(problem, request_id))
    written = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "websocket.http.response.start", "status": known.status, "headers": written})
    await send({"type": "websocket.http.response.body", "body": body})
