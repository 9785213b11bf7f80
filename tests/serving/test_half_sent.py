"""Large messages that are sent by half, by many: their bytes count, whoever carries them, and others are answered."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from lookalike.serving.access.keys import KeysDocument, create_key
from lookalike.serving.context import AccessScope
from lookalike.serving.grpc.methods import SERVICE
from tests.support.client import wait_for
from tests.support.half_sent import RawCalls
from tests.support.processes import Server, server
from tests.support.shop import Shop
from tests.support.watched import resident

pytestmark = pytest.mark.services

KEY, TEXT = create_key("shop", [AccessScope.SEARCH])
MIB = 2**20
MESSAGE = 4 * MIB
SENT = MESSAGE - 100_000
COUNT = 40
"""Together they would hold 160 MiB."""
PIECE = 64 * 2**10
BUDGET = 16 * MIB
SLACK = 44 * MIB
"""What a server may take beside: what comes before it looks, buffers, and memory that is not given back at once."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish(24)
    return shop


@contextmanager
def start(folder: Path, **more: str) -> Iterator[tuple[Server, int]]:
    port = free_port()
    given = {
        "LOOKALIKE_STREAM__ENABLED": "true",
        "LOOKALIKE_STREAM__PER_CALLER": "100",
        "LOOKALIKE_STREAM__STREAMS": "100",
        "LOOKALIKE_GRPC__PORT": str(port),
        "LOOKALIKE_LIMITS__MAX_BODY_BYTES": str(MESSAGE),
        "LOOKALIKE_LIMITS__BODIES_BYTES": str(BUDGET),
        **more,
    }
    with server(folder, **given) as running:
        running.wait(lambda state: state["ready"])
        yield running, port


@pytest.fixture(scope="module")
def open_server(shop: Shop) -> Iterator[tuple[Server, int]]:
    with start(shop.folder) as found:
        yield found


@pytest.fixture(scope="module")
def locked_server(shop: Shop) -> Iterator[tuple[Server, int]]:
    with start(shop.folder, LOOKALIKE_ACCESS__KEYS=KeysDocument(keys=(KEY,)).model_dump_json()) as found:
        yield found


Way = Callable[[Server, int, ExitStack], int]
"""Sends half of a large message in so many ways at once; returns how many bytes were taken."""


def send_by_socket(running: Server, _: int, held: ExitStack) -> int:
    """Send half of a binary frame over many WebSockets."""
    took = 0
    for _number in range(COUNT):
        raw = held.enter_context(closing(socket.create_connection(("127.0.0.1", running.port))))
        raw.settimeout(0.1)
        head = "GET /v1/stream HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        raw.sendall(f"{head}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        answer = b""
        with suppress(TimeoutError):
            while b'"hello"' not in answer:
                answer += raw.recv(4096)
        raw.settimeout(1)
        with suppress(OSError):
            raw.sendall(b"\x82\xff" + struct.pack(">Q", MESSAGE) + b"mask")
            for _piece in range(SENT // PIECE):
                raw.sendall(bytes(PIECE))
                took += PIECE
    return took


def send_by_call(method: str) -> Way:
    """Return what sends half of a message in many calls, ten over each connection."""

    def send(_: Server, port: int, held: ExitStack) -> int:
        took = 0
        for _connection in range(COUNT // 10):
            raw = held.enter_context(closing(RawCalls(port)))
            for _call in range(10):
                if raw.is_closed:
                    break
                call = raw.begin(f"/{SERVICE}/{method}")
                raw.begin_message(call, MESSAGE)
                took += raw.feed(call, SENT, seconds=0.1)
        return took

    return send


WAYS: dict[str, Way] = {
    "websocket": send_by_socket,
    "grpc stream": send_by_call("Stream"),
    "grpc": send_by_call("Search"),
}


@pytest.mark.parametrize("way", WAYS)
def test_their_bytes_are_bounded_and_others_are_answered(open_server: tuple[Server, int], way: str) -> None:
    running, port = open_server
    before = resident(running.process.pid)
    with ExitStack() as held:
        WAYS[way](running, port, held)
        most = 0
        for _ in range(5):
            most = max(most, resident(running.process.pid))
            reply = httpx.post(f"{running.url}/v1/search", json={"product_id": "a", "k": 1}, timeout=10)
            assert reply.status_code == 200, reply.text
            time.sleep(0.1)
    assert most - before < BUDGET + SLACK
    assert _metric(running, "lookalike_overloaded_total") > 0
    wait_for(lambda: _metric(running, "lookalike_streams{"), lambda count: count == 0)


@pytest.mark.parametrize("way", WAYS)
def test_without_a_key_next_to_nothing_is_taken(locked_server: tuple[Server, int], way: str) -> None:
    running, port = locked_server
    before = resident(running.process.pid)
    with ExitStack() as held:
        took = WAYS[way](running, port, held)
        assert resident(running.process.pid) - before < COUNT * 2**17
    if way != "websocket":  # there the sockets of both sides hold some
        assert took <= COUNT * 2**16


def _metric(running: Server, name: str) -> float:
    """Return the sum of a metric over all its labels."""
    lines = httpx.get(f"{running.url}/metrics", headers={"X-API-Key": TEXT}).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
