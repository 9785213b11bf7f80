"""Framing: where a request on a connection begins and ends, how large its head may be, and what cannot be read.

Where a proxy in front may find the end of a request elsewhere, the request is refused: what follows would be a body to
one and a request to the other.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from lookalike.serving.errors import ProblemError
from lookalike.serving.rest.middleware.headers import DEFAULTS
from lookalike.serving.rest.problems import respond
from lookalike.serving.rest.requests import request_context

HEAD_BYTES = 64 * 2**10
"""Of a request's head as it is sent; as many for what follows the last byte of a body in chunks."""
HEAD_FIELDS = 100
DRAINED_BYTES = 2**20
"""What a client may send on after a refusal: many read only when they have sent all."""
END = b"\r\n\r\n"
"""Of a head, and of a body in chunks: the parser takes no other line ends."""

_START = re.compile(rb"""(?!CONNECT )[A-Z-]+ [!"$-~]+ HTTP/1\.[01]\r\n""")
_NEVER_FIRST = frozenset(bytes([code]) for code in range(ord("!")))
_EMPTY_LINES = re.compile(rb"[\r\n]+")
_OFFER = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_WEBSOCKET = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)
_log = logging.getLogger(__name__)


class _Part(Enum):
    """What of a request a connection brings next."""

    HEAD = auto()
    BODY = auto()
    CHUNKS = auto()
    NOTHING = auto()
    """What comes is of no use any more: the connection was refused, or another protocol has it."""


class FramedProtocol(HttpToolsProtocol):
    """HTTP/1.1 for uvicorn. What it refuses itself it answers with a problem, as the application would.

    The parser is given a head only when all of it is there, and never more than one request before that is answered.
    Left alone, it collects without end, holds an object for each request in a packet, and drops a body behind an offer
    to upgrade.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limit_concurrency = None  # uvicorn would answer with plain text; `PatientProtocol` makes room
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)  # nothing is read there
        self._unread = b""
        self._searched = 0
        """Bytes of a head that is not whole in which its end was looked for."""
        self._part = _Part.HEAD
        self._left = 0
        """Bytes of a body of known length that are still to come."""
        self._framing = 0
        """Bytes since the last one of a body in chunks: lengths, extensions, trailers."""
        self._trailers = 0
        self._drained = 0

    def data_received(self, data: bytes) -> None:
        """Take what came; after a refusal, throw it away."""
        if self._part is _Part.NOTHING:
            self._drained += len(data)
            if self._drained > DRAINED_BYTES:
                self.transport.close()
            return
        self._unset_keepalive_if_required()
        self._unread += data
        self._read()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; those after a body in chunks are only counted."""
        if self._part is _Part.HEAD:
            super().on_header(name, value.rstrip())  # spaces at its end are no part of a value (RFC 9112, 5.1)
            return
        self._trailers += 1
        if self._trailers > HEAD_FIELDS:
            raise _too_large()

    def on_headers_complete(self) -> None:
        """Start the request, and note how its body comes."""
        self._unset_keepalive_if_required()  # it may have waited behind another one
        fields = dict(self.headers)  # the parser refuses two lengths and two codings
        is_old = self.parser.get_http_version() == "1.0"
        _check_framing(self.headers, fields, is_old=is_old)
        self.expect_100_continue = self.expect_100_continue and not is_old
        super().on_headers_complete()
        self._left = int(fields.get(b"content-length", 0))
        self._framing = self._trailers = 0
        self._part = _Part.CHUNKS if b"transfer-encoding" in fields else _Part.BODY

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._framing = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Go on with the next request once this one is answered."""
        super().on_message_complete()
        self._part = _Part.HEAD

    def on_response_complete(self) -> None:
        """Read the next request, where it is there already."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._read()

    def refuse(self, problem: ProblemError) -> None:
        """Answer with a problem where the application has not begun to answer; read nothing more."""
        if self._part is _Part.HEAD or not self.cycle.response_started:
            self._answer(problem)
        self._part = _Part.NOTHING
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()  # closing at once would throw away the answer of those who still send
        else:
            self.transport.close()

    def _read(self) -> None:
        """Hand on what came, up to the end of the request that is being answered."""
        data, start = self._unread, 0
        while start < len(data) and self._part is not _Part.NOTHING:
            if self._part is _Part.HEAD:
                if self.cycle is not None and not self.cycle.response_complete:
                    self.flow.pause_reading()
                    break
                start = _skip_empty_lines(data, start)
            end = self._find_end(data, start)
            if end == start:
                break
            self._feed(data[start:end])
            start = end
        self._unread = data[start:] if self._part is not _Part.NOTHING else b""

    def _find_end(self, data: bytes, start: int) -> int:
        """Return how far to read at once: never beyond the end of a request, and not yet where a head is not whole."""
        if self._part is _Part.BODY:
            return min(start + self._left, len(data))
        end = data.find(END, start + self._searched)
        self._searched = 0
        if end >= 0:
            return end + len(END)
        searched = max(start, len(data) + 1 - len(END))  # the last bytes may be the beginning of an end
        if self._part is _Part.CHUNKS:
            return searched
        self._searched = searched - start
        if len(data) - start > HEAD_BYTES:
            self.refuse(_too_large())
        elif _is_hopeless(data, start):
            self.refuse(_unreadable())
        return start

    def _feed(self, piece: bytes) -> None:
        try:
            if self._part is _Part.HEAD:
                _check_head(piece)
                piece = self._without_offer(piece)
            self._left -= len(piece)
            self._framing += len(piece)
            self.parser.feed_data(piece)
        except ProblemError as problem:
            self.refuse(problem)
        except httptools.HttpParserError as error:
            raised = error.__context__  # by a method that the parser called
            self.refuse(raised if isinstance(raised, ProblemError) else _unreadable())
        except httptools.HttpParserUpgrade:
            self._upgrade()
        else:
            if self._part is _Part.CHUNKS and self._framing > HEAD_BYTES:
                self.refuse(_too_large())

    def _without_offer(self, head: bytes) -> bytes:
        """Leave out an offer to upgrade, which may be ignored (RFC 9110, 7.8): the parser would skip the body.

        Each Java client offers `h2c`.
        """
        if self.ws_protocol_class is not None and _WEBSOCKET.search(head):
            return head
        return _OFFER.sub(b"", head)

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self.handle_websocket_upgrade()
            self._part = _Part.NOTHING
        else:
            self.refuse(_unreadable())  # what follows would be a body to some and a request to others

    def _answer(self, problem: ProblemError) -> None:
        scope: Scope = {}
        response = respond(scope, problem)
        _log.info("request %s was refused: %s", request_context(scope).id, problem)
        own = {**DEFAULTS, "x-request-id": request_context(scope).id, "connection": "close"}
        headers = [*self.server_state.default_headers, *response.raw_headers]
        headers += [(name.encode(), value.encode()) for name, value in own.items()]
        lines = b"".join(b"%s: %s\r\n" % field for field in headers)
        self.transport.write(STATUS_LINE[response.status_code] + lines + b"\r\n" + bytes(response.body))


def _check_head(head: bytes) -> None:
    """Raise `ProblemError` for a head that is too large, or whose lines end or begin as no head of HTTP/1.1 does.

    The parser itself takes a request of HTTP/0.9, of HTTP/2.0 and of RTSP.
    """
    lines = head.count(b"\r\n")
    if len(head) > HEAD_BYTES or lines > HEAD_FIELDS + 2:  # the request's own line, and the empty one
        raise _too_large()
    if head.count(b"\n") != lines or not _START.match(head):
        raise _unreadable()


def _check_framing(fields: Sequence[tuple[bytes, bytes]], last: Mapping[bytes, bytes], *, is_old: bool) -> None:
    """Raise `ProblemError` where a proxy in front may have understood the head in another way."""
    hosts = [name for name, _ in fields].count(b"host")
    if hosts > 1 or (hosts == 0 and not is_old):
        raise _unreadable()
    if last.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise _unreadable()


def _is_hopeless(data: bytes, start: int) -> bool:
    """Tell whether a head begins as none ever does: with TLS, mostly, or with a line that does not end in CR LF."""
    end = data.find(b"\n", start)
    return data[start : start + 1] in _NEVER_FIRST or (end >= 0 and data[end - 1 : end] != b"\r")


def _skip_empty_lines(data: bytes, start: int) -> int:
    """Return where the next request begins: some clients send an empty line after a body (RFC 9112, 2.2)."""
    found = _EMPTY_LINES.match(data, start)
    return found.end() if found else start


def _too_large() -> ProblemError:
    detail = f"A request's head may have {HEAD_BYTES:,} bytes and {HEAD_FIELDS} fields: this one has more."
    return ProblemError("head_too_large", detail)


def _unreadable() -> ProblemError:
    return ProblemError("bad_request", "This is no HTTP/1.1 request that can be read.")
