"""Clients of streams: messages as objects, in the form that docs/streaming.md shows, whatever carries them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any

SECONDS = 60.0
"""How long a test waits before it fails."""


class StreamEndedError(Exception):
    """The server has ended the stream; the text is the reason, or nothing."""


class StreamClient(ABC):
    """One stream. What the server sent before the answers that a test waits for is kept in `others`."""

    def __init__(self) -> None:
        self.others: list[dict[str, Any]] = []

    @abstractmethod
    async def say(self, *messages: Any) -> None:
        """Send messages."""

    @abstractmethod
    async def ask(self, item: Any, *pictures: bytes, **fields: Any) -> None:
        """Send a query; `{"frame": n}` in its fields stands for a picture, and a single one is its `image`."""

    @abstractmethod
    async def receive(self) -> dict[str, Any]:
        """Return the next message. Raises `StreamEndedError`."""

    @abstractmethod
    async def finish(self) -> None:
        """Say that no more will come."""

    async def read(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.receive(), SECONDS)

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

    async def reason(self) -> str:
        """Return the code with which the server ends the stream, nothing where all is well."""
        while True:
            try:
                self.others.append(await self.read())
            except StreamEndedError as end:
                return str(end)


def outcomes(answers: dict[Any, dict[str, Any]]) -> dict[Any, str]:
    """Return the code of each answer, `hits` where it is no problem."""
    return {name: found.get("code", "hits") for name, found in answers.items()}
