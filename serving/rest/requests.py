"""What an ASGI server says of a request, in the terms of the tiers below: context, address, credentials, operation."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from starlette._utils import get_route_path  # the very rule by which the router matches
from starlette.datastructures import Headers
from starlette.types import Scope

from lookalike.serving.access.admission import AccessRequest, Operation
from lookalike.serving.context import RequestContext

API_KEY = "x-api-key"
PROBES = frozenset({"/livez", "/readyz"})
PAGES = frozenset({"/", "/docs", "/problems", "/openapi.json", "/favicon.ico"})
STATIC = "/static/"
ADMIN = "/v1/admin"
METRICS = "/metrics"

_KEY = "lookalike"
_BEARER = "bearer "
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-real-ip", "origin")


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
    headers = Headers(scope=scope)
    path = route_path(scope)
    return AccessRequest(
        operation_of(path),
        _credentials(headers),
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


def route_path(scope: Scope) -> str:
    """Return the path that the router will match: decoded once, without the mount point of the application.

    It is judged by `scope["path"]` as the router does, never by a URL that a header can change.
    """
    find: Callable[[Any], str] = get_route_path
    return find(scope)


def client_address(scope: Scope) -> str:
    """Return the address that a request came from: what uvicorn saw, or what a trusted proxy reported."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def server_port(scope: Scope) -> int | None:
    """Return the port that a request came to, None where it came to none."""
    server = scope.get("server")
    return server[1] if server is not None else None


def is_local(scope: Scope) -> bool:
    """Tell whether a program on this machine asks for itself: no proxy passed it on, no web page sent it."""
    headers = Headers(scope=scope)
    if any(name in headers for name in _PASSED_ON):
        return False
    try:
        return ipaddress.ip_address(client_address(scope)).is_loopback
    except ValueError:
        return False


def _credentials(headers: Headers) -> tuple[str, ...]:
    """Other schemes than Bearer are for whoever stands in front of this server."""
    given = [value.strip() for value in headers.getlist("authorization")]
    bearer = [value[len(_BEARER) :].strip() for value in given if value.lower().startswith(_BEARER)]
    return (*bearer, *(value.strip() for value in headers.getlist(API_KEY)))


def _is_below(path: str, folder: str) -> bool:
    # `/v1/administer` falls under it too: better an address too many behind the admin scope than one too few.
    return path.startswith(folder)
