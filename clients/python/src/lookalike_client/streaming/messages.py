"""Messages of a stream: a query as it is sent, and what the server says. Nothing here does I/O.

docs/streaming.md has the protocol.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lookalike_client.errors import NoStreamError, ProblemError, problem
from lookalike_client.query import ReadQuery
from lookalike_client.replies import Reading, read_problem


@dataclass(frozen=True, slots=True)
class Hello:
    """The server's first message: how many queries may be under way, and how many bytes a query may have."""

    window: int
    query_bytes: int


@dataclass(frozen=True, slots=True)
class Hits:
    """The answer to a query, as REST's JSON has it."""

    number: int
    found: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A query ends with a problem; without a number, the stream does."""

    number: int | None
    problem: ProblemError


@dataclass(frozen=True, slots=True)
class Goaway:
    """The server stops: it takes no further query."""


Message: TypeAlias = Hello | Hits | Refusal | Goaway


def write_query(read: ReadQuery, number: int, seconds: float) -> list[str | bytes]:
    """Return the frames of a query, the text before its pictures.

    Raises `NoStreamError` for a number that JSON lacks: a server would end the stream for it.
    """
    frames: list[bytes] = []
    fields = read.to_json(frames)
    head = {
        "type": "query",
        "id": number,
        "timeout": max(seconds, 0.001),
        **({"frames": len(frames)} if frames else {}),
    }
    try:
        text = json.dumps({**head, **fields}, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise NoStreamError(str(error)) from None
    return [text, *frames]


def check_size(parts: list[str | bytes], most: int) -> None:
    """Raise `ProblemError` for a query that is too large: a server ends the whole stream for a frame that is."""
    size = sum(map(len, parts))
    if size > most:
        raise problem("body_too_large", f"The query has {size:,} bytes, and the server takes {most:,}.", status=413)


def read_message(text: str | bytes) -> Message | None:
    """Return what the server says; None for messages that need no answer. Raises `UnexpectedReplyError`."""
    with Reading("a message of a stream"):
        found = json.loads(text)
        kind = found["type"]
        if kind == "hits":
            return Hits(int(found["id"]), found)
        if kind == "problem":
            number = found.get("id")
            after = found.get("retry_after")
            said = read_problem(found, 500, retry_after=None if after is None else float(after))
            return Refusal(None if number is None else int(number), said)
        if kind == "hello":
            return Hello(max(1, int(found["window"])), int(found["limits"]["message_bytes"]))
        return Goaway() if kind == "goaway" else None
