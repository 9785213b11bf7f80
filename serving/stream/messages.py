"""The messages of a stream, in both directions, as no carrier writes them: each has a form of its own for these.

What a client sends is `Incoming`, what it is sent is `Outgoing`. docs/streaming.md shows them as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lookalike.serving.context import RequestContext
from lookalike.serving.errors import ProblemError
from lookalike.serving.query.query import Query
from lookalike.serving.search.answers import Answer

Order = Literal["ready", "query"]
ORDERS: tuple[Order, ...] = ("ready", "query")
MAX_ID = 128
"""Letters of an item's id."""

ItemId = str | int
"""What the client calls an item: a text or a whole number."""


@dataclass(frozen=True, slots=True)
class Start:
    """The first message, where a client has something to say before it asks.

    `key` is for clients that can send no header. `order` says in which order answers are wanted.
    """

    key: str | None = None
    order: Order = "ready"


@dataclass(frozen=True, slots=True)
class Ask:
    """A query.

    Attributes:
        fields: those of `SearchRequest`; `image` may be bytes, and so may `vector`.
        timeout: seconds until which an answer is wanted; at most, and without it, the server's limit for a request.
        size: bytes that the message holds in memory.
        fault: what the carrier found wrong with it; the item ends with this.
        is_slow_to_read: whether checking `fields` takes so long that a thread should do it, such as much base64.
    """

    id: ItemId
    fields: Mapping[str, Any]
    timeout: float | None = None
    size: int = 0
    fault: ProblemError | None = None
    is_slow_to_read: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """The answer to a query is no longer wanted. An id that is not under way is ignored: its answer may be coming."""

    id: ItemId


@dataclass(frozen=True, slots=True)
class Pin:
    """Answer later queries from this snapshot; with None, from the one that is served."""

    snapshot: str | None


Incoming = Start | Ask | Cancel | Pin


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What a client must keep to."""

    message_bytes: int
    request_seconds: float
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class Hello:
    """The server's first message. `window` is how many queries may be under way; `snapshot` is the one served now."""

    window: int
    snapshot: str | None
    limits: StreamLimits


@dataclass(frozen=True, slots=True)
class Hits:
    """The answer to a query."""

    id: ItemId
    query: Query
    answer: Answer
    asked: RequestContext


@dataclass(frozen=True, slots=True)
class Problem:
    """A query ends with a problem; without an id, the stream does, and this is its last message."""

    id: ItemId | None
    problem: ProblemError
    request_id: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is served now, and what the stream stays on: sent on a swap, and in answer to each `Pin`.

    `problem` says why a snapshot could not be pinned.
    """

    id: str | None
    pinned: str | None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Goaway:
    """The server stops: what was taken is finished within so many seconds, and later queries are refused."""

    finish_within: float


Outgoing = Hello | Hits | Problem | Snapshot | Goaway


@dataclass(frozen=True, slots=True)
class End:
    """How a stream ended, as metrics count it. `problem` is what the client was told, None where nothing was wrong."""

    reason: Literal["done", "left", "stopping", "slow_reader", "idle", "refused", "broken", "failed"]
    problem: ProblemError | None = None


def check_id(given: object) -> ItemId:
    """Return an item's id. Raises `ProblemError`: without one, nobody can be told what is wrong."""
    is_text = isinstance(given, str) and 0 < len(given) <= MAX_ID
    is_number = isinstance(given, int) and not isinstance(given, bool) and abs(given) < 2**53
    if is_text or is_number:
        assert isinstance(given, str | int)  # noqa: S101 - for the type checker
        return given
    raise ProblemError("bad_message", f"`id` must be a text of 1 to {MAX_ID} letters, or a whole number.")


def check_order(given: object) -> Order:
    """Return the order in which answers are wanted. Raises `ProblemError`."""
    order = next((known for known in ORDERS if known == given), None)
    if order is None:
        raise ProblemError("bad_message", f"`order` must be one of {', '.join(ORDERS)}.")
    return order


def check_timeout(given: object) -> float | None:
    """Return an item's timeout in seconds. Raises `ProblemError`."""
    if given is None:
        return None
    if isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given) and given > 0:
        return float(given)
    raise ProblemError("bad_field", "`timeout` must be a number of seconds above 0.")
