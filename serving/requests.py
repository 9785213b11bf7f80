"""What a request carries through every layer: its id, when it came, and until when an answer is wanted."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

from starlette.types import Scope

_KEY = "lookalike"


@dataclass(slots=True)
class RequestContext:
    """`deadline` and `started` are on the monotonic clock."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: float = field(default_factory=time.monotonic)
    deadline: float = float("inf")


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
