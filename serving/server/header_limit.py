"""Heads: how large a request's head may be, and what is answered where one is larger or cannot be read at all."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from lookalike.serving.context import request_id
from lookalike.serving.errors import KINDS, ProblemError
from lookalike.serving.rest.middleware.security_headers import DEFAULTS
from lookalike.serving.rest.problems import respond

HEAD_BYTES = 64 * 2**10
"""Of a request's address, header names and values, those after a chunked body included.

uvicorn's parser keeps them without a limit: without this, one connection fills the memory before any key is looked at.
"""
HEAD_FIELDS = 100
DRAINED_BYTES = 2**20
"""What a client may send on after a refusal: many read only when they have sent all."""

_log = logging.getLogger(__name__)


class HeadLimit(HttpToolsProtocol):
    """HTTP/1.1 for uvicorn. What it refuses itself it answers with a problem, as the application would."""

    _size = 0
    _fields = 0
    _unparsed = 0  # bytes since the parser last told us of something: it holds a field back until all of it is there
    _in_body = False
    _problem: ProblemError | None = None
    _refused = False

    def data_received(self, data: bytes) -> None:
        """Take what came; after a refusal, throw it away."""
        self._unparsed += len(data)
        if self._refused:
            self._drain()
            return
        super().data_received(data)
        if not self._refused and self._size + self._unparsed > HEAD_BYTES:
            self.refuse(_too_large())

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._size = self._fields = self._unparsed = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count an address, or a part of it."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a field, before the body or after it."""
        self._fields += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Go over to the body."""
        self._unparsed = 0
        super().on_headers_complete()
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, which the application counts."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Be ready for the next head."""
        self._in_body = False
        self._size = self._fields = self._unparsed = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser cannot read, or what was too large for us."""
        self.refuse(self._problem or ProblemError("bad_request", "This is no HTTP/1.1 request that can be read."))

    def refuse(self, problem: ProblemError) -> None:
        """Answer with a problem where it can be told whose answer that is; read nothing more."""
        self._refused, self._unparsed = True, 0
        if self._is_next():
            self.transport.write(_written(problem, self.server_state.default_headers))
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()  # closing at once would throw away the answer of those who still send
        else:
            self.transport.close()

    def _drain(self) -> None:
        if self._unparsed > DRAINED_BYTES:
            self.transport.close()

    def _count(self, size: int) -> None:
        self._unparsed = 0
        self._size += size
        if self._size > HEAD_BYTES or self._fields > HEAD_FIELDS:
            self._problem = _too_large()
            raise self._problem  # through the parser, which then reads no further

    def _is_next(self) -> bool:
        """Tell whether what is written now would be read as the answer to the request that is being read."""
        if self._in_body:
            return self.cycle is not None and not self.cycle.response_started and not self.pipeline
        return self.cycle is None or self.cycle.response_complete


def _too_large() -> ProblemError:
    detail = f"A request's head may have {HEAD_BYTES:,} bytes and {HEAD_FIELDS} fields: this one has more."
    return ProblemError("head_too_large", detail)


def _written(problem: ProblemError, defaults: Iterable[tuple[bytes, bytes]]) -> bytes:
    scope: Scope = {}
    response = respond(scope, problem)
    _log.info("request %s was refused: %s", request_id(scope), problem)
    own = {**DEFAULTS, "x-request-id": request_id(scope), "connection": "close"}
    headers = [*defaults, *response.raw_headers, *((name.encode(), value.encode()) for name, value in own.items())]
    lines = [b"%s: %s\r\n" % header for header in headers]
    return b"".join([STATUS_LINE[KINDS[problem.code].status], *lines, b"\r\n", bytes(response.body)])
