"""Connections: how long a client has to send a request's head, to read and to take its leave.

They also say who is hung up on where there are too many of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from lookalike.serving.errors import ProblemError
from lookalike.serving.server.framing import FramedProtocol

HEAD_SECONDS = 10.0
"""From the first byte to the last of a request's head; a new connection, and the rest of a refused body, have as long.

uvicorn only bounds silence between requests, and any byte ends that: without this, clients that send one byte a second
("slow loris") keep a connection each for as long as they like.
"""

READ_SECONDS = 20.0
"""A client that takes nothing of its reply for so long is hung up on."""
READ_BYTES_PER_SECOND = 64 * 2**10
"""A client has so long for a whole reply, too, and a second more for each of so many bytes."""
CLOSED_AT_ONCE = 50
"""Where there are too many connections, one in so many is closed."""
PIECE = 64 * 2**10
"""Bytes of a reply that are handed to the system at a time: what a client does not read stays where it was made."""

_log = logging.getLogger(__name__)


class PatientProtocol(FramedProtocol):
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
