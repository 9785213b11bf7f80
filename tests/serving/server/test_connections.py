"""Clients that take their time, do not read, send no end of a head or come in crowds, at a real server on a port."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from lookalike.serving.rest.middleware.headers import DEFAULTS
from lookalike.serving.server import connections
from lookalike.serving.server.framing import HEAD_BYTES, HEAD_FIELDS
from tests.support.listening import listen

pytestmark = pytest.mark.slow

PATIENCE = 0.4
CONNECTIONS = 20
LARGE = 20 * 2**20
OFFER = (
    b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
)
"""As each stock Java client sends it."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once without reading, after twice the patience, or with the body that came."""
    body = b"ok"
    if scope["path"] == "/large":
        body = bytes(LARGE)
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * PATIENCE)
    if scope["path"] == "/echo":
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "HEAD_SECONDS", PATIENCE)
    monkeypatch.setattr(connections, "READ_SECONDS", PATIENCE)
    with listen(app, limit_concurrency=CONNECTIONS) as found:
        yield found


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
        (OFFER % b"/" + b"Content-Length: 1000\r\n\r\n", b"x"),
    ],
    ids=[
        "nothing", "empty lines", "one letter", "a header", "after an answer", "the next request", "a refused body",
        "a refused body with an offer",
    ],
)  # fmt: skip
def test_slow_clients_are_hung_up_on(port: int, first: bytes, drip: bytes) -> None:
    assert PATIENCE / 2 < seconds_until_hung_up(port, first, drip) < 5 * PATIENCE


def test_a_slow_answer_is_waited_for_and_the_connection_kept(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for path in ("/slow", "/", "/slow"):
            assert client.get(path).text == "ok"
        time.sleep(2 * PATIENCE)  # silence between requests is uvicorn's to bound
        with socket.create_connection(("127.0.0.1", port)):
            assert client.get("/").text == "ok"


def refusal(port: int, *sent: bytes) -> httpx.Response | None:
    """Send all, then read until the server hangs up; return its answer, None where there is none."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        answer = b""
        with suppress(ConnectionError):
            for data in sent:
                connection.sendall(data)
            while received := connection.recv(4096):
                answer += received
    if not answer:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return httpx.Response(int(status.split(" ")[1]), headers=fields, content=body)


START = b"GET /slow HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
TOO_LARGE = {
    "address": b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "endless address": b"GET /" + b"a" * 2 * HEAD_BYTES,
    "name": START + b"a" * HEAD_BYTES + b": b\r\n\r\n",
    "endless value": START + b"a: " + b"b" * 8 * HEAD_BYTES,
    "large fields": START + b"".join(b"a%d: %s\r\n" % (n, b"b" * (HEAD_BYTES // 64)) for n in range(64)) + b"\r\n",
    "many fields": START + b"a: b\r\n" * HEAD_FIELDS + b"\r\n",
    "many trailers": CHUNKED + b"a: b\r\n" * (HEAD_FIELDS + 1) + b"\r\n",
    "an endless trailer": CHUNKED + b"a: " + b"b" * 8 * HEAD_BYTES,
}


@pytest.mark.parametrize("sent", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_head_that_is_too_large_is_refused(port: int, sent: bytes) -> None:
    answer = refusal(port, sent)
    assert answer is not None
    assert (answer.status_code, answer.json()["code"]) == (431, "head_too_large")


def test_a_head_that_never_ends_is_hung_up_on(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(START)
        sent = 0
        with suppress(ConnectionError):
            while sent < 64 * 2**20:
                connection.sendall(b"a: " + b"b" * 60_000 + b"\r\n")
                sent += 60_000
    assert sent < 16 * 2**20  # what the system's buffers hold, and what is thrown away after the answer


def test_a_head_as_large_as_may_be_is_read(port: int) -> None:
    fields = {f"a{number}": "b" * (HEAD_BYTES // 128) for number in range(HEAD_FIELDS - 10)}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            assert client.get("/", headers=fields).text == "ok"
        assert client.post("/", content=(b"x" * 1000 for _ in range(2 * HEAD_BYTES // 1000))).text == "ok"


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nno field\r\n\r\n"])
def test_what_cannot_be_read_is_a_problem_with_the_headers_of_all_answers(port: int, sent: bytes) -> None:
    answer = refusal(port, sent)
    assert answer is not None
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert answer.headers["connection"] == "close"
    assert DEFAULTS.items() <= dict(answer.headers).items()


@pytest.mark.parametrize(
    "body",
    [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"],
    ids=["of known length", "in chunks"],
)
def test_an_offer_to_upgrade_is_ignored_and_the_body_read(port: int, body: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        for _ in range(2):  # the connection is kept
            connection.sendall(OFFER % b"/echo" + body)
            answer = b""
            while not answer.endswith(b"\r\n\r\nhello"):
                received = connection.recv(4096)
                assert received, answer
                answer += received
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_body_of_two_lengths_is_refused(port: int) -> None:
    """A proxy may believe the other one, and take the rest for a request of its own."""
    both = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    answer = refusal(port, both)
    assert answer is not None
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_empty_lines_after_a_body_are_ignored(port: int) -> None:
    one = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        for _ in range(2):
            connection.sendall(one)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
            connection.sendall(b"\r\n\r\n")


def test_requests_are_not_read_while_one_is_being_answered(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.settimeout(5 * PATIENCE)
        sent = 0
        with suppress(TimeoutError):
            while sent < 64 * 2**20:
                sent += connection.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    assert sent < 16 * 2**20  # what the system's buffers hold


def test_each_of_two_requests_at_once_gets_its_own_answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
        answers = b""
        while received := connection.recv(4096):
            answers += received
    first, _, second = answers.partition(b"ok")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 400 ")


def read_to_end(connection: socket.socket) -> int:
    received = 0
    with suppress(ConnectionError):
        while data := connection.recv(2**20):
            received += len(data)
    return received


def open_slowly_read(port: int) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", port))
    return connection


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"], ids=["kept", "to be closed"])
@pytest.mark.parametrize("times", [1, 50])
def test_a_reply_that_is_not_read_is_given_up(port: int, close: bytes, times: int) -> None:
    with open_slowly_read(port) as connection:
        connection.sendall((b"GET /large HTTP/1.1\r\nHost: x\r\n" + close + b"\r\n") * times)
        time.sleep(3 * PATIENCE)
        assert read_to_end(connection) < LARGE


def test_a_reply_that_is_read_by_drops_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "READ_BYTES_PER_SECOND", 10 * LARGE)
    with open_slowly_read(port) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        end = time.monotonic() + 4 * PATIENCE
        with suppress(ConnectionError):
            while time.monotonic() < end:
                connection.recv(2**16)
                time.sleep(PATIENCE / 20)
        assert read_to_end(connection) < LARGE


def test_a_reply_that_is_read_steadily_comes_whole(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received, start = 0, time.monotonic()
        while data := connection.recv(2**17):
            received += len(data)
            time.sleep(PATIENCE / 50)
        assert received > LARGE
        assert time.monotonic() - start > 2 * PATIENCE


def test_large_replies_follow_one_another(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for path in ("/large", "/", "/large"):
            assert len(client.get(path).content) == (LARGE if path == "/large" else 2)


BODY_TO_COME = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nh"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", BODY_TO_COME, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_crowd_of_connections_leaves_room_for_others(port: int, sent: bytes) -> None:
    crowd = []
    with socket.create_connection(("127.0.0.1", port), 5) as answered:
        answered.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            for _ in range(2 * CONNECTIONS):
                crowd.append(open_slowly_read(port))
                crowd[-1].sendall(sent)
            assert httpx.get(f"http://127.0.0.1:{port}/", timeout=20).text == "ok"
            assert answered.recv(4096).startswith(b"HTTP/1.1 200 ")
        finally:
            for one in crowd:
                one.close()


def test_an_offer_of_a_websocket_is_ignored(port: int) -> None:
    offer = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "eA==",
    }
    assert httpx.get(f"http://127.0.0.1:{port}/?key=secret", headers=offer).text == "ok"
