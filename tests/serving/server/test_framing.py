"""Requests in any packets, behind one another, with offers to upgrade, and those that two readers end differently."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from lookalike.serving.server.framing import HEAD_BYTES, HEAD_FIELDS
from tests.support.listening import listen

NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""Behind another request: it shows that the end of that one was found, and the server hangs up after it."""
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
KNOWN = b"Content-Length: 5\r\n\r\n"
HELLO = b"hello"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Reply:
    """What the server answered: of the application a list of method, path, body and names of fields."""

    status: int
    fields: dict[str, str]
    body: Any


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell what was asked; `/early` is answered before its body is read, `/inject` with a line too many."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    headers = [(b"x-own", b"a\r\nx-injected: b")] if scope["path"] == "/inject" else []
    body, more = b"", scope["path"] != "/early"
    if scope["path"] == "/slow":
        await asyncio.sleep(0.2)
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    names = [name.decode() for name, _ in scope["headers"]]
    told = json.dumps([scope["method"], scope["path"], body.decode("latin-1"), names]).encode()
    headers.append((b"content-length", b"%d" % len(told)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listen(app) as found:
        yield found


def ask(port: int, *packets: bytes) -> list[Reply]:
    """Send packets, each after what the server does at once; return all that it answers until it hangs up."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        with suppress(ConnectionError):
            for place, packet in enumerate(packets):
                if place and len(packets) < 10:
                    connection.settimeout(0.05)
                    with suppress(TimeoutError):
                        received += connection.recv(65536)
                    connection.settimeout(10)
                connection.sendall(packet)
            while data := connection.recv(65536):
                received += data
    return list(split(received))


def split(received: bytes) -> Iterator[Reply]:
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
        length = int(fields.get("content-length", 0))
        body, received = received[:length], received[length:]
        is_json = "json" in fields.get("content-type", "json")
        yield Reply(int(line.split(" ")[1]), fields, json.loads(body) if body and is_json else body)


def told(replies: list[Reply]) -> list[tuple[str, str]]:
    """Return path and body of each request that the application saw."""
    assert {reply.status for reply in replies} <= {100, 200}, replies
    return [(reply.body[1], reply.body[2]) for reply in replies if reply.status == 200]


REFUSED = {
    "a line without CR": b"GET / HTTP/1.1\nHost: x\r\n\r\n",
    "a field without CR": GET + b"a: b\nc: d\r\n\r\n",
    "a head without CR": b"GET / HTTP/1.1\nHost: x\n\n",
    "an end without CR": GET + b"\n",
    "CR in a value": GET + b"a: b\rc: d\r\n\r\n",
    "NUL in a value": GET + b"a: b\0c\r\n\r\n",
    "another control": GET + b"a: b\x01c\r\n\r\n",
    "a folded field": GET + b"a: b\r\n c: d\r\n\r\n",
    "a folded first field": b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    "a space before the colon": GET + b"Content-Length : 5\r\n\r\nhello",
    "no name": GET + b": b\r\n\r\n",
    "no colon": GET + b"a\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "a length with a sign": POST + b"Content-Length: +5\r\n\r\nhello",
    "no length": POST + b"Content-Length:\r\n\r\nhello",
    "a length that overflows": POST + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    "length, then chunks": POST + b"Content-Length: 5\r\n" + CHUNKED + CHUNKS,
    "chunks, then length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + CHUNKS,
    "an unknown coding": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "a coding before chunks": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "chunks twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "a chunk that overflows": POST + CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a chunk with a sign": POST + CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "a chunk in C's way": POST + CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk without a length": POST + CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "a chunk's line without CR": POST + CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "LF in an extension": POST + CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a chunk that is longer": POST + CHUNKED + b"2\r\nhello\r\n0\r\n\r\n",
    "a trailer without CR": POST + CHUNKED + b"0\r\na: b\n\r\n",
    "a trailer of framing": POST + CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: y\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "RTSP": b"DESCRIBE / RTSP/1.0\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "a tunnel": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tunnel with a body": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "a tunnel to a path": b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method that nobody knows": b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space in the address": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a letter beyond ASCII": b"GET /\xe4 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_what_others_may_read_differently_is_refused(port: int, sent: bytes) -> None:
    (reply,) = ask(port, sent + NEXT)
    assert (reply.status, reply.body["code"], reply.fields["connection"]) == (400, "bad_request", "close")


@pytest.mark.parametrize(
    "endless", [b"0", b"2;", b"0;", b"0\r\na"], ids=["length", "extension", "the last's", "trailer"]
)
def test_lines_between_chunks_end(port: int, endless: bytes) -> None:
    (reply,) = ask(port, POST + CHUNKED + b"1\r\nx\r\n" + endless + b"0" * 5 * HEAD_BYTES)
    assert (reply.status, reply.body["code"]) == (431, "head_too_large")


OFFERS = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAE\r\n",
    b"UPGRADE:h2c\r\nconnection:upgrade\r\n",
    b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
]
BODIES = {
    "no body": ([b"\r\n" + NEXT], b""),
    "known": ([KNOWN + HELLO + NEXT], HELLO),
    "known and later": ([KNOWN, HELLO + NEXT], HELLO),
    "known and in parts": ([KNOWN + b"h", b"ell", b"o", NEXT], HELLO),
    "chunks": ([CHUNKED + CHUNKS + NEXT], HELLO),
    "chunks and later": ([CHUNKED, CHUNKS + NEXT], HELLO),
    "chunks and in parts": ([CHUNKED + b"2\r", b"\nhe\r\n3\r\nllo\r\n", b"0\r\n", b"\r\n" + NEXT], HELLO),
    "asks first": ([b"Expect: 100-continue\r\n" + KNOWN, HELLO + NEXT], HELLO),
}


@pytest.mark.parametrize("offer", OFFERS, ids=["h2c", "in capitals", "TLS", "websocket", "two"])
@pytest.mark.parametrize(("packets", "body"), BODIES.values(), ids=BODIES)
def test_an_offer_to_upgrade_changes_nothing(port: int, offer: bytes, packets: list[bytes], body: bytes) -> None:
    replies = ask(port, POST + offer + packets[0], *packets[1:])
    assert told(replies) == [("/", body.decode()), ("/next", "")]
    assert [reply.status for reply in replies][:-2] == ([100] if b"Expect" in packets[0] else [])


def test_a_websocket_can_be_opened_where_one_is_served() -> None:
    with listen(app, ws="websockets-sansio") as port:
        sent = GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(sent + key)
            assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")
        assert told(ask(port, POST + OFFERS[0] + KNOWN + HELLO + NEXT)) == [("/", "hello"), ("/next", "")]
        (reply,) = ask(port, POST + OFFERS[4] + KNOWN + NEXT)  # which of two the parser means is not said
        assert reply.status == 400


MANY = (
    b"POST /1 HTTP/1.1\r\nHost: x\r\n" + KNOWN + HELLO + b"\r\n\r\n"
    b"POST /2 HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"7\r\n\r\n\r\n\r\n0\r\n2\r\n\r\n\r\n0\r\na: b\r\nc: d\r\n\r\n"
    b"GET /3?a=b HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n\r\n"
    b"POST /4 HTTP/1.1\r\nHost: x\r\n" + CHUNKED + CHUNKS + NEXT
)


@pytest.mark.parametrize("seed", [None, *range(20)])
def test_packets_are_no_ends_of_requests(port: int, seed: int | None) -> None:
    """In one packet, a byte at a time, and cut at random."""
    cuts = [] if seed is None else sorted(random.Random(seed).sample(range(len(MANY)), 12 if seed else len(MANY)))
    packets = [MANY[start:end] for start, end in zip([0, *cuts], [*cuts, len(MANY)], strict=True)]
    asked = told(ask(port, *packets))
    assert asked == [("/1", "hello"), ("/2", "\r\n\r\n\r\n0\r\n"), ("/3", ""), ("/4", "hello"), ("/next", "")]


def test_trailers_are_fields_of_no_request(port: int) -> None:
    first, second = ask(port, POST + CHUNKED + b"0\r\nX-API-Key: a\r\nHost: y\r\n\r\n" + NEXT)
    assert (first.body[3], second.body[3]) == (["host", "transfer-encoding"], ["host", "connection"])


def test_spaces_around_a_value_are_no_part_of_it(port: int) -> None:
    assert told(ask(port, POST + b"Content-Length: \t 5 \t \r\n\r\nhello" + NEXT)) == [("/", "hello"), ("/next", "")]


def test_each_of_many_requests_at_once_is_answered_in_turn(port: int) -> None:
    sent = b"".join(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in (b"slow", b"2", b"slow", b"4"))
    assert [path for path, _ in told(ask(port, sent + NEXT))] == ["/slow", "/2", "/slow", "/4", "/next"]


@pytest.mark.parametrize("packets", [[NEXT + GET + b"\r\n"], [NEXT.replace(b"/next", b"/slow"), GET + b"\r\n"]])
def test_nothing_is_read_behind_a_request_to_close(port: int, packets: list[bytes]) -> None:
    (reply,) = ask(port, *packets)
    assert (reply.status, reply.fields["connection"]) == (200, "close")


def test_old_clients_are_answered_and_hung_up_on(port: int) -> None:
    sent = b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n" + KNOWN + HELLO
    (reply,) = ask(port, sent)
    assert (reply.status, reply.body[2], reply.fields["connection"]) == (200, "hello", "close")


UNREAD = [[KNOWN + b"he", b"llo" + NEXT], [CHUNKED, CHUNKS + NEXT], [b"Expect: 100-continue\r\n" + KNOWN, HELLO + NEXT]]


@pytest.mark.parametrize("packets", UNREAD, ids=["known", "chunks", "asks first"])
def test_a_body_that_nobody_read_is_left_out(port: int, packets: list[bytes]) -> None:
    first, *others = packets
    replies = ask(port, b"POST /early HTTP/1.1\r\nHost: x\r\n" + first, *others)
    assert told(replies) == [("/early", ""), ("/next", "")]


BROKEN = [b"nonsense\r\n", b"0\r\n" + b"a: b\r\n" * (HEAD_FIELDS + 1) + b"\r\n"]


@pytest.mark.parametrize("rest", BROKEN, ids=["no chunk", "trailers"])
def test_an_answered_request_has_one_answer(port: int, rest: bytes) -> None:
    (reply,) = ask(port, b"POST /early HTTP/1.1\r\nHost: x\r\n" + CHUNKED, rest)
    assert reply.status == 200


@pytest.mark.parametrize("sent", [b"", b"G", GET, POST + KNOWN + b"h", POST + CHUNKED + b"1\r\n"])
def test_clients_may_leave_at_any_time(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(sent)
    assert told(ask(port, NEXT)) == [("/next", "")]


def test_no_line_comes_into_a_reply(port: int) -> None:
    assert ask(port, b"GET /inject HTTP/1.1\r\nHost: x\r\n\r\n") == []
