"""A WebSocket as the carrier of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Message, Receive, Send

from lookalike.serving.background import in_thread
from lookalike.serving.budget import Share
from lookalike.serving.errors import ProblemError
from lookalike.serving.sockets import Connection, refuse
from lookalike.serving.stream.carrier import ClientGoneError, Encoded
from lookalike.serving.stream.messages import Ask, Hello, Incoming, Outgoing, Problem
from lookalike.serving.websocket.messages import FramedAsk, fill_frames, read_message, write_message

LARGE_JSON = 64 * 2**10
"""From here on a message is parsed in a thread, so that other queries do not wait."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A text frame. `refusal` is there where it says that the stream ends; `is_hello`, that it begins."""

    text: str
    refusal: Problem | None = None
    is_hello: bool = False


class WebSocketCarrier:
    """Opens the connection with the first message that comes or goes; a refusal before that is an answer in HTTP."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        connection: Connection,
        *,
        subprotocol: str | None,
        root: str,
        share: Share,
        max_bytes: int,
    ) -> None:
        """`share` is what the frames of a query hold until all of them are there."""
        self.is_refused = False
        self._receive = receive
        self._send = send
        self._connection = connection
        self._subprotocol = subprotocol
        self._root = root
        self._share = share
        self._max_bytes = max_bytes
        self._is_open = False

    async def receive(self) -> Incoming:
        """Return the next message, with the frames that belong to it."""
        await self._open()
        message = await self._next()
        text = message.get("text")
        if text is None:
            detail = "A binary frame belongs to no query: a query says with `frames` how many follow it."
            raise ProblemError("bad_message", detail)
        is_large = len(text) >= LARGE_JSON
        found = await in_thread(lambda: read_message(text), name="parse message") if is_large else read_message(text)
        if not isinstance(found, FramedAsk):
            return found
        ask = await self._complete(found)
        return Ask(ask.id, ask.fields, ask.timeout, ask.size, ask.fault, is_slow_to_read=is_large)

    def encode(self, message: Outgoing) -> Encoded[Frame]:
        """Return a message as a text frame."""
        text = write_message(message, self._root)
        refusal = message if isinstance(message, Problem) and message.id is None else None
        return Encoded(Frame(text, refusal, isinstance(message, Hello)), len(text))

    async def send(self, content: Frame) -> None:
        """Send a text frame."""
        if content.refusal is not None and not self._is_open:
            self.is_refused = True
            await refuse(self._send, content.refusal.problem, content.refusal.request_id)
            return
        await self._open()
        if content.is_hello:
            self._connection.limit_messages(self._max_bytes)
        await self._deliver({"type": "websocket.send", "text": content.text})

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye."""
        if not self.is_refused:
            await self._deliver({"type": "websocket.close", "code": code, "reason": reason})

    async def _open(self) -> None:
        if not self._is_open:
            self._is_open = True
            await self._deliver({"type": "websocket.accept", "subprotocol": self._subprotocol})

    async def _deliver(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError as error:  # as ASGI has it where the client is gone
            raise ClientGoneError from error

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise ClientGoneError
        return message

    async def _complete(self, found: FramedAsk) -> Ask:
        """Read the frames of a query; where they are too large together, throw them away."""
        ask, frames, size = found.ask, list[bytes](), found.ask.size
        fault = ask.fault
        try:
            for _ in range(found.frames):
                data = (await self._next()).get("bytes")
                if data is None:
                    detail = f"A text frame came where the query {ask.id!r} has a binary frame to come."
                    raise ProblemError("bad_message", detail)
                size += len(data)
                fault = fault or self._find_fault(size)
                if fault is None:
                    frames.append(data)
                else:
                    frames.clear()
        finally:
            self._share.let_go()  # from here on it is the query that holds them
        if fault is not None:
            return Ask(ask.id, {}, ask.timeout, fault=fault)
        return fill_frames(Ask(ask.id, ask.fields, ask.timeout, size), frames)

    def _find_fault(self, size: int) -> ProblemError | None:
        if size > self._max_bytes:
            detail = f"The query has more than {self._max_bytes:,} bytes: send smaller pictures."
            return ProblemError("body_too_large", detail)
        try:
            self._share.raise_to(size)
        except ProblemError as problem:
            return problem
        return None
