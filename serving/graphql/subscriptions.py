"""Subscriptions: a layer around the application that answers WebSockets at `/graphql`, and leaves all else to it.

A connection counts as a stream, and is opened, bounded and ended as those are.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from lookalike.serving.asgi import client_address, route_path
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.context import RequestContext
from lookalike.serving.errors import ProblemError
from lookalike.serving.graphql.gateway import PATH, Gateway
from lookalike.serving.graphql.subscriber import Socket, Subscriber
from lookalike.serving.sockets import check_offer, describe_access, find_connection, refuse
from lookalike.serving.stream.carrier import ClientGoneError
from lookalike.serving.stream.streams import Streams
from lookalike.serving.telemetry.requests import measure_request

PROTOCOL = "graphql-transport-ws"


class Subscriptions:
    """An ASGI layer around the application."""

    def __init__(self, gateway: Gateway, streams: Streams, app: ASGIApp) -> None:
        self._gateway = gateway
        self._streams = streams
        self._runtime = streams.runtime
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or hand on what is none."""
        if scope["type"] != "websocket" or route_path(scope) != PATH:
            await self._app(scope, receive, send)
            return
        await receive()  # `websocket.connect`
        asked = RequestContext(gateway="graphql", address=client_address(scope))
        with ExitStack() as held:
            try:
                subscriber = await self._open(scope, asked, Socket(receive, send, find_connection(scope)), held)
            except ProblemError as problem:
                await refuse(send, problem, asked.id)
                self._measure(asked, ERROR_CODES[problem.code].status)
                return
            await send({"type": "websocket.accept", "subprotocol": PROTOCOL})
            await self._serve(subscriber)

    async def _open(self, scope: Scope, asked: RequestContext, socket: Socket, held: ExitStack) -> Subscriber:
        """Admit whoever shows a key, and whoever needs none. Raises `ProblemError`."""
        parameters, scope["query_string"] = scope["query_string"], b""  # a key that is wrongly there is not logged
        check_offer(scope, parameters, self._runtime.settings.web.origins)
        if PROTOCOL not in scope.get("subprotocols", ()):
            raise ProblemError("bad_request", f"Subscriptions take the WebSocket subprotocol {PROTOCOL}: offer it.")
        place = self._streams.take_place(asked.address, "graphql")
        held.callback(place.close)
        subscriber = Subscriber(self._gateway, self._streams, describe_access(scope, PATH), asked, socket, place)
        if not subscriber.needs_key:
            await subscriber.prove()
        return subscriber

    async def _serve(self, subscriber: Subscriber) -> None:
        async with self._streams.stop_with(subscriber.socket.stopping):
            close = await subscriber.run()
        self._runtime.metrics.stream_ends.labels("graphql", close.reason).inc()
        if close.code is not None:
            with suppress(ClientGoneError):
                await subscriber.socket.close(close.code, close.text)

    def _measure(self, asked: RequestContext, status: int) -> None:
        log = self._runtime.settings.access_log
        measure_request(self._runtime.metrics, asked, method="GET", route=PATH, status=status, log=log)
