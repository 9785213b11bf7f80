"""The gateway: opens `/v1/stream` for whoever may have it, runs a session over it, and closes it as that ended."""

from __future__ import annotations

from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from lookalike.serving.asgi import client_address, route_path
from lookalike.serving.budget import Share
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.context import RequestContext
from lookalike.serving.errors import ProblemError
from lookalike.serving.sockets import FIRST_BYTES, check_offer, describe_access, find_connection, refuse
from lookalike.serving.stream.carrier import ClientGoneError
from lookalike.serving.stream.messages import End
from lookalike.serving.stream.session import Session
from lookalike.serving.stream.streams import Streams
from lookalike.serving.telemetry.requests import measure_request
from lookalike.serving.websocket.carrier import WebSocketCarrier

PATH = "/v1/stream"
SUBPROTOCOL = "lookalike.v1"

_NORMAL, _GOING_AWAY, _BROKEN, _REFUSED, _FAILED, _TRY_LATER = 1000, 1001, 1002, 1008, 1011, 1013
_CLOSE_CODES = {
    "done": _NORMAL,
    "stopping": _GOING_AWAY,
    "broken": _BROKEN,
    "idle": _REFUSED,
    "refused": _REFUSED,
    "failed": _FAILED,
}
_LATER = frozenset({"too_many_streams", "not_ready", "overloaded", "access_unavailable"})


class WebSocketGateway:
    """An ASGI layer around the application, which answers all else."""

    def __init__(self, streams: Streams, app: ASGIApp) -> None:
        self._streams = streams
        self._settings = streams.runtime.settings
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one stream, or hand on what is none."""
        if scope["type"] != "websocket" or route_path(scope) != PATH:
            await self._app(scope, receive, send)
            return
        await receive()  # `websocket.connect`
        parameters, scope["query_string"] = scope["query_string"], b""  # a key that is wrongly there is not logged
        try:
            check_offer(scope, parameters, self._settings.web.origins)
        except ProblemError as problem:
            request = RequestContext(gateway="websocket", address=client_address(scope))
            await refuse(send, problem, request.id)
            self._measure(request, ERROR_CODES[problem.code].status)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        runtime, connection = self._streams.runtime, find_connection(scope)
        connection.limit_messages(FIRST_BYTES)
        opened = RequestContext(gateway="websocket", address=client_address(scope))
        with (
            runtime.bodies.share(lambda: session.payer) as share,
            runtime.bodies.share(lambda: session.payer) as coming,
        ):
            carrier = WebSocketCarrier(
                *(receive, send, connection),
                subprotocol=SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None,
                root=scope["root_path"],
                share=share,
                max_bytes=self._settings.limits.max_body_bytes,
            )
            session = Session(self._streams, carrier, describe_access(scope, PATH), gateway="websocket", route=PATH)
            connection.watch(lambda size: _find_room(coming, size))
            async with self._streams.stop_with(connection.stopping):
                end = await session.run()
        if carrier.is_refused and end.problem is not None:
            self._measure(opened, ERROR_CODES[end.problem.code].status)
        await _close(carrier, end)

    def _measure(self, request: RequestContext, status: int) -> None:
        log = self._settings.access_log
        metrics = self._streams.runtime.metrics
        measure_request(metrics, request, method="GET", route=PATH, status=status, log=log)


def _find_room(share: Share, size: int) -> bool:
    """Let a share hold so many bytes; tell whether there is room for them. Without it the connection ends at once."""
    try:
        if size:
            share.raise_to(size)
            return True
    except ProblemError:
        share.let_go()
        return False
    share.let_go()
    return True


async def _close(carrier: WebSocketCarrier, end: End) -> None:
    """Close as the stream ended; one whose client left or does not read is let go without a word."""
    if end.reason not in _CLOSE_CODES:
        return
    reason = "stopping" if end.reason == "stopping" else ""
    code = _CLOSE_CODES[end.reason]
    if end.problem is not None:
        reason = end.problem.code
        code = _TRY_LATER if reason in _LATER else code
    with suppress(ClientGoneError):
        await carrier.close(code, reason)
