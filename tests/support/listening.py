"""Servers in this process, on real sockets, each on a loop of its own.

One is whole, with every gateway that settings ask for; one has any application behind the protocol of the server.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from lookalike.serving.server.connections import PatientProtocol
from lookalike.serving.server.gateways import create_gateways
from lookalike.serving.settings import ServingSettings
from tests.support.client import wait_for


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that answers; `url` is where it does over HTTP."""

    settings: ServingSettings

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def target(self) -> str:
        """Where it answers gRPC."""
        return f"127.0.0.1:{self.settings.grpc.port}"

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def listening(settings: ServingSettings, *, until_ready: bool = True) -> Iterator[Listening]:
    """Run a server until the context ends; it is stopped as by a signal."""
    app = create_gateways(settings)
    server = uvicorn.Server(uvicorn.Config(app, host=settings.host, port=settings.port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    running = Listening(settings)
    try:
        wait_for(lambda: server.started or not thread.is_alive(), bool)
        assert server.started
        if until_ready:
            wait_for(running.is_ready, bool)
        yield running
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def listen(app: ASGIApp, **options: Any) -> Iterator[int]:
    """Serve an application with these options of uvicorn; yield the port."""
    given: dict[str, Any] = {
        "port": 0,
        "http": PatientProtocol,
        "ws": "none",
        "lifespan": "off",
        "log_level": "critical",
        "timeout_graceful_shutdown": 1,
        **options,
    }
    config = uvicorn.Config(app, **given)
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=server.run, args=([socket],), daemon=True)
    thread.start()
    wait_for(lambda: server.started, bool)
    yield socket.getsockname()[1]
    server.should_exit = True
    thread.join(10)
