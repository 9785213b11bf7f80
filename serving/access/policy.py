"""The policy: which address takes which scope. What is not named here takes `search`, so nothing new is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette._utils import get_route_path  # the very rule by which the router matches
from starlette.types import Scope

from lookalike.serving.context import AccessScope

PROBES = frozenset({"/livez", "/readyz"})
OPEN = frozenset({"/", "/docs", "/problems", "/openapi.json", "/favicon.ico", *PROBES})
OPEN_FOLDER = "/static/"
ADMIN = "/v1/admin"
METRICS = "/metrics"


class Policy:
    """Decides by `scope["path"]` as the router does, never by a URL that a header can change."""

    def __init__(self, *, required: bool, admin_port: int | None = None, open_metrics: bool = False) -> None:
        """`required` says whether callers must prove who they are at all."""
        self._required = required
        self._admin_port = admin_port
        self._open_metrics = open_metrics or not required or admin_port is not None

    def is_here(self, scope: Scope) -> bool:
        """Tell whether the port that the request came to has this address; without an admin port, every one has."""
        if self._admin_port is None:
            return True
        path = route_path(scope)
        if self._came_to_admin_port(scope):
            return path in PROBES or _below(path, ADMIN) or _below(path, METRICS)
        return not _below(path, ADMIN) and not _below(path, METRICS)

    def tells_all(self, scope: Scope) -> bool:
        """Tell whether a probe may say what only operators should know, such as where the store is."""
        return not self._required or self._came_to_admin_port(scope)

    def needed(self, path: str) -> AccessScope | None:
        """Return the scope that an address takes; None where it is open to all."""
        if path in OPEN or path.startswith(OPEN_FOLDER):
            return None
        if _below(path, METRICS):
            return None if self._open_metrics else AccessScope.ADMIN
        return AccessScope.ADMIN if _below(path, ADMIN) else AccessScope.SEARCH

    def _came_to_admin_port(self, scope: Scope) -> bool:
        server = scope.get("server")
        return self._admin_port is not None and server is not None and server[1] == self._admin_port


def route_path(scope: Scope) -> str:
    """Return the path that the router will match: decoded once, without the mount point of the application."""
    find: Callable[[Any], str] = get_route_path
    return find(scope)


def _below(path: str, folder: str) -> bool:
    # `/v1/administer` falls under it too: better an address too many behind the admin scope than one too few.
    return path.startswith(folder)
