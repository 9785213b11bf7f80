"""What a request carries through every layer: its id, who asks, when it came, and until when an answer is wanted.

Callers: who asks, and what they may do.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Scope = MutableMapping[str, Any]
"""What an ASGI server says of a connection."""

_KEY = "lookalike"


class AccessScope(StrEnum):
    """What a key or a token is good for; neither contains the other."""

    SEARCH = "search"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever a request is answered for. `id` may be logged: a key's public half, or a token's subject."""

    kind: Literal["anonymous", "key", "token"]
    id: str
    name: str
    scopes: frozenset[AccessScope]


def anonymous(*scopes: AccessScope) -> Caller:
    """Return a caller who did not say who they are."""
    return Caller("anonymous", "-", "", frozenset(scopes))


@dataclass(slots=True)
class RequestContext:
    """`deadline` and `started` are on the monotonic clock; `snapshot` is the one that was answered from."""

    # not uuid4: it asks the system, which lets other threads run first, and an id is no secret
    id: str = field(default_factory=lambda: f"{random.getrandbits(128):032x}")
    started: float = field(default_factory=time.monotonic)
    deadline: float = float("inf")
    caller: Caller = field(default_factory=anonymous)
    snapshot: str | None = None


_current: ContextVar[RequestContext | None] = ContextVar("request", default=None)


def context(scope: Scope) -> RequestContext:
    """Return the context of a request, made where there is none yet."""
    state = scope.setdefault("state", {})
    found = state.get(_KEY)
    if found is None:
        found = state[_KEY] = RequestContext()
    assert isinstance(found, RequestContext)  # noqa: S101 - nobody else uses this key
    return found


def request_id(scope: Scope) -> str:
    """Return the request's id."""
    return context(scope).id


def current() -> RequestContext | None:
    """Return the context of the request that is being answered, None where none is."""
    return _current.get()


@contextmanager
def answering(request: RequestContext) -> Iterator[None]:
    """Let all that is logged meanwhile belong to this request."""
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)
