"""Arrivals: how much of a stream's next message has come.

gRPC hands over a message when it is whole, and says nothing before. A stream may wait for its next message for minutes,
so the number of those that read cannot be bounded, as it is for calls with one message (`reading`). But the system
knows how many bytes came over a connection, and we know how many were handed over: gRPC holds the others. Systems that
do not tell (all but Linux) have no such bound; there the number of streams is the only one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lookalike.serving.budget import Share
from lookalike.serving.errors import ProblemError
from lookalike.serving.grpc.callers import parse_peer

LOOK_SECONDS = 0.05
"""How often to look at a stream that waits: what comes over the line in so long is not bounded."""
SMALL = 128 * 2**10
"""Bytes that are not counted: what clients may send of a message that nobody reads, and frames without one."""
FRAMING, FRAMED = 64, 1024
"""Bytes that a message takes on the way beside its own, and one more for each of so many: rather more than it does."""

_OPEN_FILES = Path("/proc/self/fd")
_INFO_BYTES, _RECEIVED_AT = 256, 128  # `struct tcp_info` of Linux: `tcpi_bytes_received`


class Connection:
    """One connection that carries streams."""

    def __init__(self, found: socket.socket) -> None:
        self.streams = 0
        self.waiting: dict[Arriving, int] = {}
        """Streams that wait for a message, the longest first, with what was held when they began to."""
        self._socket = found
        self._handed_over = 0

    @property
    def held(self) -> int:
        """How many bytes came that were not handed over."""
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        received: int = struct.unpack_from("<Q", info, _RECEIVED_AT)[0]
        return received - self._handed_over

    def hand_over(self, size: int) -> None:
        """Note that a message of so many bytes was handed over."""
        self._handed_over += size + FRAMING + size // FRAMED

    def count(self, most: int) -> None:
        """Let those that wait hold what has come, the longest waiting first, and each so much at most.

        Where there is no room for it, all of them end: nobody can tell whose bytes these are.
        """
        left = self.held - next(iter(self.waiting.values()))
        try:
            for arriving in self.waiting:
                if left > SMALL:
                    arriving.hold(min(left, most))
                    left -= most
        except ProblemError as problem:
            self._handed_over += self.held
            for arriving in self.waiting:
                arriving.refuse(problem)

    def close(self) -> None:
        """Let go of the socket; gRPC has its own."""
        self._socket.close()


class Arrivals:
    """The connections that carry streams, by their peers as gRPC writes them. A message has `most` bytes at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._connections: dict[str, Connection] = {}

    def __bool__(self) -> bool:
        return bool(self._connections)

    def note(self, peer: str, size: int) -> None:
        """Note a message of so many bytes that was none of a stream's."""
        connection = self._connections.get(peer)
        if connection is not None:
            connection.hand_over(size)

    @contextmanager
    def watch(self, peer: str, share: Share) -> Iterator[Arriving]:
        """Watch one stream; `share` is what its next message holds of the budget for bodies."""
        arriving = Arriving(lambda: self._join(peer), share, self._most)
        try:
            yield arriving
        finally:
            if arriving.connection is not None:
                self._leave(peer, arriving.connection)

    def _join(self, peer: str) -> Connection | None:
        connection = self._connections.get(peer)
        if connection is None:
            found = find_socket(peer)
            if found is None:
                return None
            connection = self._connections[peer] = Connection(found)
        connection.streams += 1
        return connection

    def _leave(self, peer: str, connection: Connection) -> None:
        connection.streams -= 1
        if not connection.streams:
            del self._connections[peer]
            connection.close()


class Arriving:
    """The next message of one stream."""

    def __init__(self, join: Callable[[], Connection | None], share: Share, most: int) -> None:
        """`join` is called when a message is waited for: not before it is known whose stream it is."""
        self.connection: Connection | None = None
        self._join: Callable[[], Connection | None] | None = join
        self._share = share
        self._most = most
        self._timeout: asyncio.Timeout | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._problem: ProblemError | None = None

    async def take(self, message: Awaitable[bytes | None]) -> bytes | None:
        """Wait for a message. Raises `ProblemError` where there is no room for what has come of it."""
        if self._join is not None:
            self.connection, self._join = self._join(), None
        connection = self.connection
        if connection is None:
            return await message
        connection.waiting[self] = connection.held
        came = 0
        try:
            async with asyncio.timeout(None) as self._timeout:
                self._look_later(connection)
                data = await message
            came = 0 if data is None else len(data)
        except TimeoutError:
            if self._problem is None:
                raise
            raise self._problem from None
        finally:
            if self._looking is not None:
                self._looking.cancel()
            del connection.waiting[self]
            if self._problem is None:
                connection.hand_over(came or self._share.size)  # what a stream held that ends is let go
            self._share.let_go()
        return data

    def hold(self, size: int) -> None:
        """Count so many bytes as its own. Raises `ProblemError`."""
        self._share.raise_to(size)

    def refuse(self, problem: ProblemError) -> None:
        """End the waiting."""
        self._problem = problem
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def _look_later(self, connection: Connection) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look, connection)

    def _look(self, connection: Connection) -> None:
        self._look_later(connection)
        if next(iter(connection.waiting)) is self:
            connection.count(self._most)


def find_socket(peer: str) -> socket.socket | None:
    """Return a copy of this process's socket whose other end is there; None where none is found."""
    wanted = (parse_peer(peer), peer.rpartition(":")[2])
    for file in _OPEN_FILES.iterdir() if _OPEN_FILES.is_dir() else ():
        try:
            if not str(file.readlink()).startswith("socket:"):
                continue
            found = socket.socket(fileno=os.dup(int(file.name)))
        except OSError:
            continue
        if _is_at(found, wanted):
            return found
        found.close()
    return None


def _is_at(found: socket.socket, wanted: tuple[str, str]) -> bool:
    """Tell whether the other end of a socket is there, and the system tells what came of it."""
    try:
        host, port, *_ = found.getpeername()
        told = len(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES))
    except (OSError, ValueError):
        return False
    if told < _RECEIVED_AT + 8:  # an old system, or one that only looks like Linux
        return False
    return (parse_peer(f"ipv{6 if ':' in host else 4}:[{host}]:{port}"), str(port)) == wanted
