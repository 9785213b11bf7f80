"""A client of `/v1/stream`: messages as objects, pictures as binary frames."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.stream_clients import StreamClient, StreamEndedError


class WebSocketClient(StreamClient):
    """A stream over `/v1/stream`."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__()
        self.socket = socket
        self.code = 0

    async def say(self, *messages: dict[str, Any] | bytes | str) -> None:
        for message in messages:
            await self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def ask(self, item: Any, *pictures: bytes, **fields: Any) -> None:
        framed: dict[str, Any] = {"frames": len(pictures)} if pictures else {}
        if len(pictures) == 1 and "image" not in fields:
            framed["image"] = {"frame": 0}
        await self.say({"type": "query", "id": item, **framed, **fields}, *pictures)

    async def receive(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(await self.socket.recv())
        except ConnectionClosed as closed:
            if closed.rcvd is None:  # the server hung up without a word
                raise
            self.code = closed.rcvd.code
            raise StreamEndedError(closed.rcvd.reason) from closed
        return found

    async def finish(self) -> None:
        await self.socket.close()

    async def end(self) -> tuple[int, str]:
        """Return the code and the reason with which the server closes."""
        reason = await self.reason()
        return self.code, reason


@asynccontextmanager
async def opened(port: int, path: str = "/v1/stream", **more: Any) -> AsyncIterator[WebSocketClient]:
    """Open a stream to a server of this machine."""
    given: dict[str, Any] = {"compression": None, "proxy": None, "max_size": None, **more}
    async with connect(f"ws://127.0.0.1:{port}{path}", **given) as socket:
        yield WebSocketClient(socket)
