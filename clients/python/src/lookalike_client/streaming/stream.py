"""A stream: many queries at a time over one WebSocket, which is opened again where it was lost.

This module alone imports `websockets`, which comes with the extra `stream`. Without it, and where the server or a proxy
has no stream, `NoStreamError` says so, and HTTP takes over.

A query is sent when the server has room for it, and its answer ends one future. So no answer counts twice, and what was
under way when a connection is lost ends with an error that may be tried again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from itertools import count
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from lookalike_client.errors import (
    ConnectionFailedError,
    LookalikeError,
    NoStreamError,
    ProblemError,
    UnexpectedReplyError,
    is_transient,
    out_of_time,
)
from lookalike_client.query import ReadQuery
from lookalike_client.replies import Reply
from lookalike_client.settings import Settings
from lookalike_client.streaming.messages import (
    Goaway,
    Hello,
    Hits,
    Message,
    Refusal,
    check_size,
    read_message,
    write_query,
)

PATH = "/v1/stream"
START = '{"type":"start"}'
CONNECT_SECONDS = 5.0
SEND_SECONDS = 30.0
"""How long a server may take to read a query; then the connection is given up. Large queries have more time."""
BYTES_PER_SECOND = 64 << 10
EARLIER = 0.9
"""The server has so much of a query's time, so that its problem comes before the client gives up."""
CLOSE_SECONDS = 2.0
FIRST_PAUSE, MOST_PAUSE = 0.5, 60.0
"""How long no stream is opened after one could not be. Pauses double."""
MAX_ANSWER_BYTES = 256 << 20

_ACCESS = frozenset({"unauthorized", "forbidden", "cross_origin_refused"})
_BROKEN = frozenset({1002, 1003, 1007, 1009})
"""Codes of a WebSocket that mean: what was sent cannot be read. Sending it again would end the next stream, too."""

_silent = logging.Logger("lookalike_client.streaming")
"""For the library, which writes headers, and so the key, at the level DEBUG."""
_silent.disabled = True


class Stream:
    """Asks over one connection at a time. It belongs to one event loop; close it there."""

    def __init__(self, settings: Settings, *, tls: ssl.SSLContext | None, proxy: str | bool) -> None:
        """`tls` is for `https` addresses; `proxy` is an address, or whether the environment may name one."""
        self._settings = settings
        self._tls = tls
        self._proxy = proxy
        self._try_at = 0.0
        self._failed = 0
        self._opening = asyncio.Lock()
        self._current: _Connection | None = None
        self._leaving: set[_Connection] = set()

    async def ask(self, read: ReadQuery, deadline: float) -> Mapping[str, Any]:
        """Return an answer as JSON has it, by the `deadline` of `time.monotonic`.

        Raises `NoStreamError`, and other kinds of `LookalikeError`.
        """
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                while True:
                    connection = await self._connect()
                    with suppress(_EndedError):
                        return await connection.ask(read, deadline)
        except TimeoutError:
            if connection is not None:
                connection.leave()  # the server should have said so itself, a little earlier: it may be stuck
            raise out_of_time(self._settings.url) from None

    async def close(self) -> None:
        """Close what is open. Queries that are under way end with an error."""
        for connection in [*self._leaving, *([self._current] if self._current else [])]:
            await connection.close()

    async def _connect(self) -> _Connection:
        async with self._opening:
            if self._current is not None and not self._current.takes_queries:
                self._let_go(self._current)
                self._current = None
            if self._current is None:
                self._current = await self._open()
            return self._current

    def _let_go(self, connection: _Connection) -> None:
        """Let a connection end by itself: a server that stops still sends the answers it owes."""
        if connection.is_open:
            self._leaving.add(connection)
            connection.reading.add_done_callback(lambda _: self._leaving.discard(connection))

    async def _open(self) -> _Connection:
        """Open a connection. Where that fails, it is not tried again for a while: a proxy may let none through."""
        if time.monotonic() < self._try_at:
            raise NoStreamError(f"{self._settings.url} opens no stream")
        try:
            connection = await self._begin(await self._shake_hands())
        except InvalidStatus as error:
            refusal = self._find_refusal(_as_reply(error))
        except (OSError, InvalidHandshake, EOFError, NoStreamError) as error:
            refusal = NoStreamError(f"{self._settings.url} opens no stream: {error or type(error).__name__}")
            self._pause(min(MOST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failed, 30)))
        else:
            self._failed = 0
            return connection
        raise refusal  # outside of the handler: the library's error may hold the request, and that the key

    async def _shake_hands(self) -> ClientConnection:
        headers = {} if self._settings.api_key is None else {"Authorization": f"Bearer {self._settings.api_key}"}
        secure: dict[str, Any] = {} if self._tls is None else {"ssl": self._tls}
        return await _Connect(
            "ws" + self._settings.url.removeprefix("http") + PATH,
            additional_headers=headers,
            compression=None,
            proxy=self._proxy or None,
            open_timeout=CONNECT_SECONDS,
            close_timeout=CLOSE_SECONDS,
            max_size=MAX_ANSWER_BYTES,
            logger=_silent,
            **secure,
        )

    async def _begin(self, socket: ClientConnection) -> _Connection:
        """Wait for `hello`."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self._settings.api_key is None:
                    await socket.send(START)  # else a server that takes a key waits for one
                hello = read_message(await socket.recv())
            if isinstance(hello, Hello):
                return _Connection(socket, hello, self._settings.url)
        except (ConnectionClosed, TimeoutError):
            hello = None
        except BaseException:
            socket.transport.abort()
            raise
        socket.transport.abort()
        if isinstance(hello, Refusal):
            raise hello.problem
        raise NoStreamError("there is no hello")

    def _find_refusal(self, reply: Reply) -> LookalikeError:
        """Return what a reply means that opened no stream: what HTTP would answer, too, is an error of the query."""
        try:
            reply.check()
        except ProblemError as error:
            is_ours = not error.code.startswith("http_") and error.code != "too_many_streams"
            if is_ours and error.status not in {404, 405}:
                return error
            self._pause(MOST_PAUSE if not is_transient(error) else error.retry_after or FIRST_PAUSE)
        else:
            self._pause(MOST_PAUSE)
        return NoStreamError(f"{self._settings.url} opens no stream: it answered {reply.status}")

    def _pause(self, seconds: float) -> None:
        self._failed += 1
        self._try_at = time.monotonic() + seconds


class _Connect(connect):
    """The library's way to connect, without redirects: the key is for this server."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _as_reply(error: InvalidStatus) -> Reply:
    response = error.response
    headers = {name.lower(): value for name, value in response.headers.raw_items()}
    return Reply(response.status_code, headers, bytes(response.body or b""))


class _EndedError(Exception):
    """The connection has ended, or its server stops, and a query was not sent."""


class _Connection:
    """A connection after `hello`. A task of its own reads all that comes, so that the server never has to wait."""

    def __init__(self, socket: ClientConnection, hello: Hello, url: str) -> None:
        self._socket = socket
        self._hello = hello
        self._url = url
        self._room = asyncio.Semaphore(hello.window)
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._numbers = count(1)
        self._sending = asyncio.Lock()
        self._is_leaving = False
        self._last_words: ProblemError | None = None
        self._make_failure: Callable[[], LookalikeError] | None = None
        self.reading = asyncio.create_task(self._read())

    @property
    def is_open(self) -> bool:
        return self._make_failure is None

    @property
    def takes_queries(self) -> bool:
        return self.is_open and not self._is_leaving

    async def ask(self, read: ReadQuery, deadline: float) -> Mapping[str, Any]:
        """Send a query when there is room for it, and return its answer.

        Raises `_EndedError` for one that was not sent. Whoever waits for room behind it learns that, too.
        """
        await self._room.acquire()
        try:
            if not self.takes_queries:
                raise _EndedError
            number = next(self._numbers)
            parts = write_query(read, number, EARLIER * (deadline - time.monotonic()))
            check_size(parts, self._hello.query_bytes)
        except BaseException:
            self._room.release()
            raise
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        # from here on the room is taken until the server has answered, even if nobody waits for that any more
        with suppress(ConnectionClosed):  # the reader finds out why, and ends the future
            await self._send(parts)
        return await answer

    def leave(self) -> None:
        """Take no more queries. Those that wait for room go elsewhere."""
        self._is_leaving = True
        self._room.release()

    async def close(self) -> None:
        """Hang up."""
        await self._socket.close()
        await self.reading

    async def _send(self, parts: list[str | bytes]) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(SEND_SECONDS + sum(map(len, parts)) / BYTES_PER_SECOND):
                    for part in parts:
                        await self._socket.send(part)
            except TimeoutError:
                self._socket.transport.abort()
            except asyncio.CancelledError:
                # half a query is on its way: the server would take the next one for the rest of it
                self._socket.transport.abort()
                raise

    async def _read(self) -> None:
        fault: UnexpectedReplyError | None = None
        try:
            while True:
                self._take(read_message(await self._socket.recv()))
        except ConnectionClosed:
            pass
        except UnexpectedReplyError as error:
            fault = error
            self._socket.transport.abort()
        finally:
            self._end(fault)

    def _take(self, message: Message | None) -> None:
        if isinstance(message, Hits):
            waiting = self._find_waiting(message.number)
            if waiting is not None:
                waiting.set_result(message.found)
        elif isinstance(message, Goaway):
            self.leave()
        elif message is not None and not isinstance(message, Hello):
            if message.number is None:
                self._last_words = message.problem
                return
            waiting = self._find_waiting(message.number)
            if waiting is not None:
                waiting.set_exception(message.problem)

    def _find_waiting(self, number: int) -> asyncio.Future[Mapping[str, Any]] | None:
        """Return who waits for an answer, and make room for another query."""
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return None
        self._room.release()
        return None if waiting.done() else waiting

    def _end(self, fault: UnexpectedReplyError | None) -> None:
        self._make_failure = lambda: (
            copy(fault) if fault else _explain_end(self._socket.close_code, self._last_words, self._url)
        )
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._make_failure())
        self._waiting.clear()
        self._room.release()


def _explain_end(code: int | None, said: ProblemError | None, url: str) -> LookalikeError:
    if code in _BROKEN:
        return NoStreamError(f"{url} cannot read what was sent: {said or code}")
    if said is not None and (said.code in _ACCESS or is_transient(said)):
        return copy(said)
    return ConnectionFailedError(f"{url} ended the stream: {said or code or 'it hung up'}")
