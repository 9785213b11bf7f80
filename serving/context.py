"""What a request carries through every layer: its id, who asks, when it came, and until when an answer is wanted."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from lookalike.serving.budget import Share


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


Gateway = Literal["rest", "websocket", "grpc", "graphql"]


@dataclass(slots=True)
class RequestContext:
    """One request, of any gateway.

    Attributes:
        started, deadline: on the monotonic clock.
        caller, address: who asks, and from which network address; admission sets them, with the deadline.
        snapshot: the one that was answered from.
        gateway: which protocol it came by, for metrics and logs.
        reply: what the reply holds of the budget for replies; a gateway sets it.
    """

    # not uuid4: it asks the system, which lets other threads run first, and an id is no secret
    id: str = field(default_factory=lambda: f"{random.getrandbits(128):032x}")
    started: float = field(default_factory=time.monotonic)
    deadline: float = float("inf")
    caller: Caller = field(default_factory=anonymous)
    address: str = "unknown"
    snapshot: str | None = None
    gateway: Gateway = "rest"
    reply: Share | None = None

    @property
    def payer(self) -> str:
        """Who is charged for what the request holds: a key or token, else the address."""
        return self.address if self.caller.kind == "anonymous" else f"{self.caller.kind} {self.caller.id}"


_current: ContextVar[RequestContext | None] = ContextVar("request", default=None)


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
