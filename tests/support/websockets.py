"""A client of `/v1/stream`: messages as objects, pictures as binary frames."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

SECONDS = 60.0
"""How long a test waits before it fails."""


class WebSocketClient:
    """One stream. What the server sent before the answers that a test waits for is kept in `others`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.others: list[dict[str, Any]] = []

    async def say(self, *messages: dict[str, Any] | bytes | str) -> None:
        for message in messages:
            await self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def ask(self, item: Any, *pictures: bytes, **fields: Any) -> None:
        """Send a query; `pictures` are its frames, and a single one is its `image`."""
        framed: dict[str, Any] = {"frames": len(pictures)} if pictures else {}
        if len(pictures) == 1 and "image" not in fields:
            framed["image"] = {"frame": 0}
        await self.say({"type": "query", "id": item, **framed, **fields}, *pictures)

    async def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), SECONDS))
        return found

    async def answers(self, count: int) -> dict[Any, dict[str, Any]]:
        """Return the next answers by id, in the order in which they came."""
        found: dict[Any, dict[str, Any]] = {}
        while len(found) < count:
            message = await self.read()
            if message["type"] in {"hits", "problem"} and "id" in message:
                assert message["id"] not in found
                found[message["id"]] = message
            else:
                self.others.append(message)
        return found

    async def end(self) -> tuple[int, str]:
        """Return the code and the reason with which the server closes."""
        closed = None
        while closed is None:
            try:
                self.others.append(await self.read())
            except ConnectionClosed as error:
                closed = error
        assert closed.rcvd is not None, "the server hung up"
        return closed.rcvd.code, closed.rcvd.reason


@asynccontextmanager
async def opened(port: int, path: str = "/v1/stream", **more: Any) -> AsyncIterator[WebSocketClient]:
    """Open a stream to a server of this machine."""
    given: dict[str, Any] = {"compression": None, "proxy": None, "max_size": None, **more}
    async with connect(f"ws://127.0.0.1:{port}{path}", **given) as socket:
        yield WebSocketClient(socket)


def outcomes(answers: dict[Any, dict[str, Any]]) -> dict[Any, str]:
    """Return the code of each answer, `hits` where it is no problem."""
    return {name: found.get("code", "hits") for name, found in answers.items()}
