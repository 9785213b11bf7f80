"""Connections: how large a request's head may be, and how long a client has to send it, to read and to take its leave.

They also say what is answered where a head is larger or cannot be read at all, and who is hung up on where there are
too many connections.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from http import HTTPStatus
from typing import Any

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from lookalike.serving.errors import ERROR_CODES, ProblemError
from lookalike.serving.rest.middleware.headers import DEFAULTS
from lookalike.serving.rest.problems import respond
from lookalike.serving.rest.requests import request_context

HEAD_SECONDS = 10.0
"""From the first byte to the last of a request's head; a new connection, and the rest of a refused body, have as long.

uvicorn only bounds silence between requests, and any byte ends that: without this, clients that send one byte a second
("slow loris") keep a connection each for as long as they like.
"""

HEAD_BYTES = 64 * 2**10
"""Of a request's address, header names and values; as many for the fields after a chunked body."""
HEAD_FIELDS = 100
DRAINED_BYTES = 2**20
"""What a client may send on after a refusal: many read only when they have sent all."""
READ_SECONDS = 20.0
"""A client that takes nothing of its reply for so long is hung up on."""
READ_BYTES_PER_SECOND = 64 * 2**10
"""A client has so long for a whole reply, too, and a second more for each of so many bytes."""
CLOSED_AT_ONCE = 50
"""Where there are too many connections, one in so many is closed."""
PIECE = 64 * 2**10
"""Bytes of a reply that are handed to the system at a time: what a client does not read stays where it was made."""
TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

_log = logging.getLogger(__name__)


class HeadLimit(H11Protocol):
    """HTTP/1.1 for uvicorn. What it refuses itself it answers with a problem, as the application would."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limit_concurrency = None  # uvicorn would answer with plain text; `PatientProtocol` makes room
        self.conn = _BoundedConnection(h11.SERVER, HEAD_BYTES)
        self._is_refused = False
        self._drained = 0

    def data_received(self, data: bytes) -> None:
        """Take what came; after a refusal, throw it away."""
        if self._is_refused:
            self._drained += len(data)
            if self._drained > DRAINED_BYTES:
                self.transport.close()
        elif data := self._without_empty_lines(data):
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Refuse what h11 cannot read, which uvicorn is handling when it calls this."""
        if getattr(sys.exception(), "error_status_hint", None) == TOO_LARGE:
            detail = f"A request's head may have {HEAD_BYTES:,} bytes and {HEAD_FIELDS} fields: this one has more."
            self.refuse(ProblemError("head_too_large", detail))
        else:
            self.refuse(ProblemError("bad_request", "This is no HTTP/1.1 request that can be read."))

    def refuse(self, problem: ProblemError) -> None:
        """Answer with a problem where the application has not begun to answer; read nothing more."""
        self._is_refused = True
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._answer(problem)
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()  # closing at once would throw away the answer of those who still send
        else:
            self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: each Java client offers to upgrade, and an offer may be ignored (RFC 9110, 7.8)."""

    def _without_empty_lines(self, data: bytes) -> bytes:
        """Leave out what some clients send after a body, which h11 would refuse (RFC 9112, 2.2)."""
        is_between_requests = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        return data.lstrip(b"\r\n") if is_between_requests else data

    def _answer(self, problem: ProblemError) -> None:
        scope: Scope = {}
        response = respond(scope, problem)
        _log.info("request %s was refused: %s", request_context(scope).id, problem)
        own = {**DEFAULTS, "x-request-id": request_context(scope).id, "connection": "close"}
        headers = [*self.server_state.default_headers, *response.raw_headers]
        headers += [(name.encode(), value.encode()) for name, value in own.items()]
        status = HTTPStatus(ERROR_CODES[problem.code].status)
        start = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
        for event in (start, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")


class PatientProtocol(HeadLimit):
    """HTTP/1.1 for uvicorn. It hangs up on whoever neither is being answered nor asks within `HEAD_SECONDS`.

    It also hangs up on whoever does not read, and, where there are too many connections, on one that keeps it waiting.
    """

    _patience: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    since = 0.0
    """When the client's turn began, on the loop's clock."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._application: Any = self.app
        self.app = self._answer_in_pieces

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        limit = self.config.limit_concurrency
        if limit is not None and len(self.connections) > limit:
            _make_room(self, limit)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came; where nothing is being answered, it must become a request in time.

        From there on the request has a deadline of its own.
        """
        if self._is_idle:
            self._wait()
        super().data_received(data)
        if not self._is_idle:
            self._stop_waiting()

    def handle_websocket_upgrade(self, *given: Any) -> None:
        """Hand the connection on: from here on another protocol waits for the client."""
        super().handle_websocket_upgrade(*given)
        self._stop_waiting()

    def pause_writing(self) -> None:
        """Give the client its time to read."""
        super().pause_writing()
        self._limit_reading(READ_SECONDS)

    def resume_writing(self) -> None:
        """Let the client go on: it has read."""
        super().resume_writing()
        self._stop_reading()

    def on_response_complete(self) -> None:
        """Wait for the next request; where none will come, for the end of this reply."""
        super().on_response_complete()
        self.since = self.loop.time()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._limit_reading(READ_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        """End a silent connection, though it has not read all."""
        super().timeout_keep_alive_handler()
        self._hang_up()

    def refuse(self, problem: ProblemError) -> None:
        """Give a client that was refused as long to take its leave."""
        super().refuse(problem)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer too: it would keep the connection in memory."""
        self._stop_waiting()
        self._stop_reading()
        super().connection_lost(exc)
        self._stop_reading()

    @property
    def keeps_waiting(self) -> bool:
        """Whether it is the client's turn: to ask, to send the rest of a body, or to read."""
        return self._is_idle or self.cycle.more_body or self.flow.write_paused

    def hang_up_now(self) -> None:
        """Let go of the connection with all that is not sent yet."""
        self.transport.abort()

    async def _answer_in_pieces(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_pieces(message: Message) -> None:
            body = message.get("body", b"")
            if len(body) <= PIECE:
                await send(message)
                return
            deadline = self.loop.call_later(READ_SECONDS + len(body) / READ_BYTES_PER_SECOND, self.hang_up_now)
            try:
                for start in range(0, len(body), PIECE):
                    more = start + PIECE < len(body) or message.get("more_body", False)
                    await send({**message, "body": body[start : start + PIECE], "more_body": more})
            finally:
                deadline.cancel()

        await self._application(scope, receive, send_in_pieces)

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        if self._patience is None:
            self.since = self.loop.time()
            self._patience = self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _limit_reading(self, seconds: float) -> None:
        if self._reading is None:
            self._reading = self.loop.call_later(seconds, self.hang_up_now)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _hang_up(self) -> None:
        """Close; who has not read all by now never will."""
        if self.transport.get_write_buffer_size():
            self.hang_up_now()
        else:
            self.transport.close()


class _BoundedConnection(h11.Connection):
    """Bounds whole heads, too: h11 itself only bounds those that are not complete yet."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Request | h11.EndOfMessage):
            _check(event)
        return event


def _make_room(newest: PatientProtocol, limit: int) -> None:
    """Hang up on those that keep the server waiting longest, of the address that has most of them.

    They are a few at a time: to choose costs more than to close. Where each one is being answered, the newest goes.
    """
    there = [one for one in newest.connections if isinstance(one, PatientProtocol) and not one.transport.is_closing()]
    if len(there) <= limit:
        return
    waiting = [one for one in there if one is not newest and one.keeps_waiting]
    counts = Counter(_address(one) for one in waiting)
    waiting.sort(key=lambda one: (-counts[_address(one)], one.since))
    victims = waiting[: max(1, limit // CLOSED_AT_ONCE)] or [newest]
    _log.warning("there are more than %d connections: %d that kept the server waiting are closed", limit, len(victims))
    for one in victims:
        one.hang_up_now()


def _address(connection: PatientProtocol) -> str:
    return connection.client[0] if connection.client else ""


def _check(event: h11.Request | h11.EndOfMessage) -> None:
    fields = list(event.headers)
    size = sum(len(name) + len(value) for name, value in fields)
    if isinstance(event, h11.Request):
        size += len(event.target)
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in fields}:
            raise h11.RemoteProtocolError("two lengths of one body: a proxy may have believed the other")
    if size > HEAD_BYTES or len(fields) > HEAD_FIELDS:
        raise h11.RemoteProtocolError("the head is too large", error_status_hint=TOO_LARGE)
