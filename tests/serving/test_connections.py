"""Clients that take their time, at a real server on a port."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from serving import connections
from serving.connections import PatientProtocol
from tests.serving.client import wait_for

PATIENCE = 0.4


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once without reading, or after twice the patience."""
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * PATIENCE)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "HEAD_SECONDS", PATIENCE)
    config = uvicorn.Config(
        app, port=0, http=PatientProtocol, lifespan="off", log_level="error", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    wait_for(lambda: server.started, bool)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def seconds_until_hung_up(port: int, first: bytes, drip: bytes) -> float:
    """Send `first`, then `drip` again and again; return how long the server puts up with it."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        start = time.monotonic()
        connection.sendall(first)
        connection.settimeout(PATIENCE / 10)
        while time.monotonic() - start < 10 * PATIENCE:
            try:
                if not connection.recv(4096):
                    break
            except TimeoutError:
                pass
            except ConnectionError:
                break
            with suppress(ConnectionError):
                connection.sendall(drip)
        return time.monotonic() - start


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"", b"\r\n"),
        (b"G", b""),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n", b"a"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b"x"),
    ],
    ids=["nothing", "empty lines", "one letter", "a header", "after an answer", "the next request", "a refused body"],
)
def test_slow_clients_are_hung_up_on(port: int, first: bytes, drip: bytes) -> None:
    assert PATIENCE / 2 < seconds_until_hung_up(port, first, drip) < 5 * PATIENCE


def test_a_slow_answer_is_waited_for_and_the_connection_kept(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for path in ("/slow", "/", "/slow"):
            assert client.get(path).text == "ok"
        time.sleep(2 * PATIENCE)  # silence between requests is uvicorn's to bound
        with socket.create_connection(("127.0.0.1", port)):
            assert client.get("/").text == "ok"
