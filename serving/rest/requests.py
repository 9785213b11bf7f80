"""What HTTP says of a request, in the terms of the tiers below: its context, and what it asks for."""

from __future__ import annotations

from starlette.types import Scope

from lookalike.serving.access.admission import AccessRequest, Operation
from lookalike.serving.asgi import client_address, find_credentials, is_local, route_path, server_port
from lookalike.serving.context import RequestContext

PROBES = frozenset({"/livez", "/readyz"})
PAGES = frozenset({"/", "/console", "/docs", "/problems", "/openapi.json", "/favicon.ico"})
STATIC = "/static/"
ADMIN = "/v1/admin"
METRICS = "/metrics"

_KEY = "lookalike"


def request_context(scope: Scope) -> RequestContext:
    """Return the context of a request, made where there is none yet."""
    state = scope.setdefault("state", {})
    found = state.get(_KEY)
    if found is None:
        found = state[_KEY] = RequestContext()
    assert isinstance(found, RequestContext)  # noqa: S101 - nobody else uses this key
    return found


def access_request(scope: Scope) -> AccessRequest:
    """Return what admission decides about."""
    path = route_path(scope)
    return AccessRequest(
        operation_of(path),
        find_credentials(scope),
        address=client_address(scope),
        is_local=is_local(scope),
        port=server_port(scope),
        method=scope.get("method", scope["type"]),
        path=path,
    )


def operation_of(path: str) -> Operation:
    """Return what a path asks for. What is not named here is `SEARCH`, so nothing new is open."""
    if path in PROBES:
        return Operation.PROBE
    if path in PAGES or path.startswith(STATIC):
        return Operation.PAGE
    if _is_below(path, METRICS):
        return Operation.METRICS
    return Operation.ADMIN if _is_below(path, ADMIN) else Operation.SEARCH


def _is_below(path: str, folder: str) -> bool:
    # `/v1/administer` falls under it too: better an address too many behind the admin scope than one too few.
    return path.startswith(folder)
