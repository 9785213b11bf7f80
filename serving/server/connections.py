"""Connections: how large a request's head may be, and how long a client has to send it and to take its leave.

They also say what is answered where a head is larger or cannot be read at all.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from http import HTTPStatus
from typing import Any

import h11
from starlette.types import Scope
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
TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

_log = logging.getLogger(__name__)


class HeadLimit(H11Protocol):
    """HTTP/1.1 for uvicorn. What it refuses itself it answers with a problem, as the application would."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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
    """HTTP/1.1 for uvicorn. It hangs up on whoever neither is being answered nor asks within `HEAD_SECONDS`."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
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

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the connection to another protocol."""
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def refuse(self, problem: ProblemError) -> None:
        """Give a client that was refused as long to take its leave."""
        super().refuse(problem)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer too: it would keep the connection in memory."""
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class _BoundedConnection(h11.Connection):
    """Bounds whole heads, too: h11 itself only bounds those that are not complete yet."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Request | h11.EndOfMessage):
            _check(event)
        return event


def _check(event: h11.Request | h11.EndOfMessage) -> None:
    fields = list(event.headers)
    size = sum(len(name) + len(value) for name, value in fields)
    if isinstance(event, h11.Request):
        size += len(event.target)
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in fields}:
            raise h11.RemoteProtocolError("two lengths of one body: a proxy may have believed the other")
    if size > HEAD_BYTES or len(fields) > HEAD_FIELDS:
        raise h11.RemoteProtocolError("the head is too large", error_status_hint=TOO_LARGE)
