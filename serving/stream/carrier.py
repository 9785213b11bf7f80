"""What a stream needs of whatever carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from lookalike.serving.stream.messages import Incoming, Outgoing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Encoded(Generic[T]):
    """A message as a carrier sends it, and its size in bytes."""

    content: T
    size: int


class Carrier(Protocol[T]):
    """Takes messages from a client and brings it others. Only the session calls it, and sends one message at a time."""

    async def receive(self) -> Incoming | None:
        """Return the client's next message; None where it has said that no more will come.

        Raises `ProblemError` for what cannot be read, which ends the stream, and `ClientGoneError`.
        """
        ...

    def encode(self, message: Outgoing) -> Encoded[T]:
        """Return a message as it is sent. It may be called in a thread."""
        ...

    async def send(self, content: T) -> None:
        """Send a message; return when the client has room for another. Raises `ClientGoneError`."""
        ...


class ClientGoneError(Exception):
    """The client is no longer there."""
