"""Callers: who asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


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
