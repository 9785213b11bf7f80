"""What a stream wants of its connection beyond ASGI, and what the server offers under `EXTENSION`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import Scope

EXTENSION = "lookalike"
FIRST_BYTES = 16 * 2**10
"""Of a message before `hello`: enough for a key, and no more for whoever has none."""
SUBPROTOCOL = "lookalike.v1"


def _ignore(_: int) -> None:
    """For servers that bound messages in another way."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection: `stopping` is set before the server stops, and `limit_messages` bounds the bytes of a message."""

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    limit_messages: Callable[[int], None] = _ignore
    subprotocol: str | None = None


def find_connection(scope: Scope) -> Connection:
    """Return what the server offers, or what does without."""
    offered = scope.get("extensions", {}).get(EXTENSION)
    chosen = SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", ()) else None
    if not isinstance(offered, Connection):
        return Connection(subprotocol=chosen)
    return Connection(offered.stopping, offered.limit_messages, chosen)
