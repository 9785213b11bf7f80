"""The gateways that settings ask for, over one runtime, as one application."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import FrameType

from starlette.types import ASGIApp

from lookalike.serving.rest.app import create_app
from lookalike.serving.rest.middleware.proxies import Proxies
from lookalike.serving.runtime import Runtime
from lookalike.serving.settings import ServingSettings
from lookalike.serving.stream.streams import Streams

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def create_gateways(settings: ServingSettings) -> ASGIApp:
    """Return one application for all gateways. Raises `InputError` for a store or keys of no use."""
    runtime = Runtime(settings)
    streams = Streams(runtime)
    of_grpc = streams if settings.stream.enabled else None
    app = create_app(runtime, beside=() if settings.grpc.port is None else (_grpc_gateway(runtime, of_grpc),))
    whole: ASGIApp = app
    if settings.graphql.enabled:
        from lookalike.serving.graphql.mount import add_graphql  # noqa: PLC0415 - only those who want it load it

        whole = add_graphql(app, streams)
    if settings.stream.enabled:
        from lookalike.serving.websocket.gateway import WebSocketGateway  # noqa: PLC0415

        whole = WebSocketGateway(streams, whole)
    if whole is app or not (settings.root_path or settings.trusted_proxies):
        return whole
    # the application has the same layer inside, which then finds nothing left to do
    return Proxies(whole, root_path=settings.root_path, trusted=settings.trusted_proxies)


def _grpc_gateway(runtime: Runtime, streams: Streams | None) -> AbstractAsyncContextManager[None]:
    from lookalike.serving.grpc.server import GrpcGateway  # noqa: PLC0415 - for those who want it

    gateway = GrpcGateway(runtime, streams)

    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        async with gateway:
            with _call_at_stop(gateway.stop):
                yield

    return run()


@contextmanager
def _call_at_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Call a function when the process is asked to stop: uvicorn tells the application only when HTTP has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop)
        earlier = before[signal.Signals(number)]
        if callable(earlier):
            earlier(number, frame)

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, earlier in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, earlier)
