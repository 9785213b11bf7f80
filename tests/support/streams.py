"""A carrier in memory: a test says what the client sends, and reads what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from lookalike.serving.access.admission import AccessRequest, Operation
from lookalike.serving.runtime import Runtime
from lookalike.serving.stream.carrier import ClientGoneError, Encoded
from lookalike.serving.stream.messages import (
    Ask,
    End,
    Goaway,
    Hello,
    Hits,
    Incoming,
    ItemId,
    Outgoing,
    Problem,
    Snapshot,
)
from lookalike.serving.stream.session import Session
from lookalike.serving.stream.streams import Streams

SECONDS = 60.0
"""How long a test waits for a message before it fails."""

M = TypeVar("M", Hello, Hits, Problem, Snapshot, Goaway)


class MemoryCarrier:
    """Both ends of a stream. `room` is how many messages the client takes without reading them."""

    def __init__(self, room: int = 10_000) -> None:
        self.incoming: asyncio.Queue[Incoming | Exception | None] = asyncio.Queue()
        self.outgoing: asyncio.Queue[Outgoing] = asyncio.Queue(room)

    async def receive(self) -> Incoming | None:
        message = await self.incoming.get()
        if isinstance(message, Exception):
            raise message
        return message

    def encode(self, message: Outgoing) -> Encoded[Outgoing]:
        return Encoded(message, 100)

    async def send(self, content: Outgoing) -> None:
        await self.outgoing.put(content)


class Duplex:
    """The client's side of a session that runs."""

    def __init__(self, carrier: MemoryCarrier, running: asyncio.Task[End]) -> None:
        self.carrier = carrier
        self.running = running

    def say(self, *messages: Incoming | Exception | None) -> None:
        for message in messages:
            self.carrier.incoming.put_nowait(message)

    def ask(self, item: ItemId, **fields: Any) -> None:
        self.say(Ask(item, fields))

    def leave(self) -> None:
        self.say(ClientGoneError())

    async def read(self, kind: type[M]) -> M:
        """Return the next message, which must be of this kind."""
        message = await asyncio.wait_for(self.carrier.outgoing.get(), SECONDS)
        assert isinstance(message, kind), message
        return message

    async def answers(self, count: int) -> dict[ItemId | None, Hits | Problem]:
        """Return the next answers by id, in the order in which they came."""
        found: dict[ItemId | None, Hits | Problem] = {}
        while len(found) < count:
            message = await asyncio.wait_for(self.carrier.outgoing.get(), SECONDS)
            assert isinstance(message, Hits | Problem), message
            assert message.id not in found
            found[message.id] = message
        return found

    async def end(self) -> End:
        return await asyncio.wait_for(self.running, SECONDS)


@asynccontextmanager
async def duplex(
    source: Runtime | Streams, *keys: str, room: int = 10_000, address: str = "192.0.2.1", **more: Any
) -> AsyncIterator[Duplex]:
    """Run a session over a carrier in memory; `more` is for the session."""
    streams = source if isinstance(source, Streams) else Streams(source)
    carrier = MemoryCarrier(room)
    access = AccessRequest(Operation.SEARCH, keys, address=address, method="test", path="/stream")
    session = Session(streams, carrier, access, gateway="websocket", route="/v1/stream", **more)
    task = asyncio.create_task(session.run())
    try:
        yield Duplex(carrier, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
