"""The gRPC server: on the event loop of the process, beside the HTTP server, over one runtime."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import grpc

from lookalike.data.errors import InputError
from lookalike.serving.grpc.arrivals import Arrivals
from lookalike.serving.grpc.callers import Callers
from lookalike.serving.grpc.calls import Calls
from lookalike.serving.grpc.health import NAME, SHARE_OF_WATCHES, Health
from lookalike.serving.grpc.methods import METHODS, SERVICE
from lookalike.serving.grpc.stream import NAME as STREAM
from lookalike.serving.grpc.stream import StreamCalls
from lookalike.serving.runtime import Runtime
from lookalike.serving.settings import ServingSettings
from lookalike.serving.stream.streams import Streams

METADATA_BYTES = 64 * 2**10
"""Of a call's metadata, as of the head of a request over HTTP."""
WINDOW_BYTES = 64 * 2**10
"""What a client may send of a message that nobody reads yet."""
SLACK_BYTES = 64 * 2**10
"""A message that is so little too large is read, so that it is refused with our code."""
HANDSHAKE_SECONDS = 10
PING_SECONDS = 60
"""After so long a silence a client is asked whether it is there."""
PONG_SECONDS = 20
LEAST_PING_SECONDS = 10
"""A client that asks more often is hung up on."""

_log = logging.getLogger(__name__)


class _Handlers(grpc.GenericRpcHandler):
    """Finds what answers a path."""

    def __init__(self, handlers: Mapping[str, grpc.RpcMethodHandler[bytes, bytes]]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._handlers.get(handler_call_details.method)


class GrpcGateway:
    """Listens as long as the context lasts. `port` is where."""

    def __init__(self, runtime: Runtime, streams: Streams | None = None) -> None:
        """Make a gateway; with `streams`, it takes streams, too. Raises `InputError` where no port is set."""
        settings = runtime.settings
        if settings.grpc.port is None:
            raise InputError("the gRPC gateway needs a port: set LOOKALIKE_GRPC__PORT")
        self.port = settings.grpc.port
        self._settings = settings
        callers = Callers(self.port, settings.trusted_proxies)
        arrivals = Arrivals(settings.limits.max_body_bytes + SLACK_BYTES)
        calls = Calls(runtime, callers, arrivals, most=settings.grpc.calls)
        self._health = Health(runtime, watches=max(1, settings.grpc.calls // SHARE_OF_WATCHES))
        self._handlers = {name: calls.handler(method) for name, method in METHODS.items()}
        self._handlers |= self._health.handlers(calls)
        self._streams = streams
        if streams is not None:
            self._handlers[STREAM] = StreamCalls(streams, callers, arrivals).handler()
        self._server: grpc.aio.Server | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Listen. Raises `InputError` where that cannot be."""
        settings = self._settings
        self._server = grpc.aio.server(options=tuple(_options(settings).items()))
        self._server.add_generic_rpc_handlers((_Handlers(self._handlers),))
        if settings.grpc.reflection:
            _reflect(self._server)
        place = f"{f'[{settings.host}]' if ':' in settings.host else settings.host}:{self.port}"
        try:
            self._server.add_insecure_port(place)
        except RuntimeError as error:
            raise InputError(f"gRPC cannot listen on {place}: is another program there? ({error})") from error
        await self._server.start()
        _log.info("gRPC is answered on %s", place)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop as `stop` does, and wait until it is done."""
        self.stop()
        if self._stopping is not None:
            await self._stopping

    def stop(self) -> None:
        """Begin to stop: no new calls are taken, and those under way have as long as requests over HTTP."""
        self._health.is_stopping = True
        if self._streams is not None:
            self._streams.stop()
        if self._stopping is None and self._server is not None:
            self._stopping = asyncio.create_task(self._server.stop(self._settings.shutdown_seconds))


def _options(settings: ServingSettings) -> dict[str, Any]:
    age = round(1000 * settings.grpc.connection_age_seconds)
    return {
        "grpc.so_reuseport": int(settings.workers > 1),
        "grpc.max_receive_message_length": settings.limits.max_body_bytes + SLACK_BYTES,
        "grpc.max_send_message_length": -1,  # replies have a limit and a budget of their own
        "grpc.max_concurrent_streams": settings.grpc.calls_per_connection,
        "grpc.max_allowed_incoming_connections": settings.limits.connections,
        "grpc.max_metadata_size": METADATA_BYTES,
        "grpc.absolute_max_metadata_size": METADATA_BYTES,
        # a small message can become a large one: whoever wants to save bytes sends smaller pictures
        "grpc.compression_enabled_algorithms_bitset": 1,
        "grpc.http2.lookahead_bytes": WINDOW_BYTES,
        "grpc.http2.bdp_probe": 0,  # it would let fast clients send more than that
        "grpc.server_handshake_timeout_ms": 1000 * HANDSHAKE_SECONDS,
        "grpc.max_connection_age_ms": age,  # gRPC adds up to a tenth, so that not all come again at once
        # streams are no older, say goodbye themselves, and may have begun late
        "grpc.max_connection_age_grace_ms": age + 1000 * settings.shutdown_seconds,
        "grpc.max_connection_idle_ms": age,
        "grpc.keepalive_time_ms": 1000 * PING_SECONDS,
        "grpc.keepalive_timeout_ms": 1000 * PONG_SECONDS,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.min_ping_interval_without_data_ms": 1000 * LEAST_PING_SECONDS,
        "grpc.http2.max_ping_strikes": 2,
    }


def _reflect(server: grpc.aio.Server) -> None:
    from grpc_reflection.v1alpha import reflection  # noqa: PLC0415 - for those who want it

    reflection.enable_server_reflection((SERVICE, NAME, reflection.SERVICE_NAME), server)
