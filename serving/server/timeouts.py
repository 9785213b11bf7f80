"""Connections: a client has so long to send a request's head, and to take its leave after an answer."""

from __future__ import annotations

import asyncio

import h11

from lookalike.serving.errors import ProblemError
from lookalike.serving.server.header_limit import HeadLimit

HEAD_SECONDS = 10.0
"""From the first byte to the last of a request's head; a new connection, and the rest of a refused body, have as long.

uvicorn only bounds silence between requests, and any byte ends that: without this, clients that send one byte a second
("slow loris") keep a connection each for as long as they like.
"""


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
