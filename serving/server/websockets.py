"""WebSockets: how much a client may send before it is taken, and how a connection ends that nobody reads.

uvicorn reads nothing more while a message is not taken, and pings. What it lacks is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from lookalike.serving.sockets import EXTENSION, Connection

LEAVE_SECONDS = 10.0
"""How long a client has to take what was sent last when the stream has ended; then it is hung up on."""
WIRE_BYTES = 64 * 2**10
"""What frames of one message may take beside what is in them: a client could send empty ones for ever."""


SMALL_BYTES = 64 * 2**10
"""Of a message that comes: up to here it is not counted, as the number of streams bounds it."""


def _there_is_room(_: int) -> bool:
    """For applications that do not count."""
    return True


class PatientWebSocket(WebSocketsSansIOProtocol):
    """WebSocket for uvicorn, with bounded memory in both directions and an end that the application decides about."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stopping = asyncio.Event()
        self._coming = 0
        self._untaken = 0
        """Bytes that came since the application took a message."""
        self._has_room: Callable[[int], bool] = _there_is_room
        self._leaving: asyncio.TimerHandle | None = None

    def handle_connect(self, event: Request) -> None:
        """Offer the application what a stream wants of its connection."""
        super().handle_connect(event)
        if not self.close_sent:
            offered: dict[str, Any] = cast("dict[str, Any]", self.scope["extensions"])
            offered[EXTENSION] = Connection(self._stopping, self._limit_messages, self._watch)

    def data_received(self, data: bytes) -> None:
        """Take what came; what belongs to one message is bounded on the wire, too."""
        self._coming += len(data)
        self._untaken += len(data)
        super().data_received(data)
        most = self.conn.max_message_size
        if self.close_sent or not self.handshake_complete:
            return
        if most is not None and self._coming > most + WIRE_BYTES:
            self.conn.fail(1009, "too many bytes for one message")
            self.handle_parser_exception()
        elif self._untaken > SMALL_BYTES and not self._has_room(self._untaken):
            self.conn.fail(1013, "overloaded")
            self.handle_parser_exception()

    async def receive(self) -> Any:
        """Hand a message to the application, which counts it from here on."""
        message = await super().receive()
        self._untaken = 0
        self._has_room(0)
        return message

    def send_receive_event_to_app(self) -> None:
        """Hand on a whole message."""
        self._coming = 0
        super().send_receive_event_to_app()

    def shutdown(self) -> None:
        """Let a stream finish what it took, and close what is none."""
        if self.handshake_complete and not self.close_sent:
            self._stopping.set()
        else:
            super().shutdown()

    async def send(self, message: Any) -> None:
        """Send, and wait until the client has room for more: what it does not read is not made."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # refused: uvicorn would report that nothing was answered
        await self.writable.wait()

    async def run_asgi(self) -> None:
        """Answer; a client that does not take the end of it is hung up on."""
        await super().run_asgi()
        if self.writable.is_set():
            self._leaving = self.loop.call_later(LEAVE_SECONDS, self.transport.abort)
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer, too."""
        super().connection_lost(exc)
        if self._leaving is not None:
            self._leaving.cancel()

    def _watch(self, has_room: Callable[[int], bool]) -> None:
        self._has_room = has_room

    def _limit_messages(self, size: int) -> None:
        self.conn.max_message_size = size
