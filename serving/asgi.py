"""What an ASGI server says of a connection: its path, its port, who is behind it, and which credentials were sent."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from starlette._utils import get_route_path  # the very rule by which the router matches
from starlette.types import Scope

_AUTHORIZATION, _API_KEY = b"authorization", b"x-api-key"
_BEARER = "bearer "
_PASSED_ON = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"origin")
_OWN_PAGES = {"same-origin", "none"}
_REMEMBERED = 256
"""Addresses and hosts of which it is remembered whether they are of this machine: to read one takes a while."""
_LONGEST_HOST = 255


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
    """Tell whether a program on this machine asks for itself: no proxy passed it on, no page of another site sent it.

    A page that reads says no `Origin`. What a browser says instead shows other sites; and a name that was made to lead
    to this machine is not one of this machine's own.
    """
    if any(name in _PASSED_ON for name, _ in scope["headers"]):
        return False
    site, host = find_header(scope, b"sec-fetch-site"), find_header(scope, b"host")
    if site is not None and site not in _OWN_PAGES:
        return False
    return _is_loopback(client_address(scope)) and (host is None or _names_this_machine(host))


def find_header(scope: Scope, wanted: bytes) -> str | None:
    """Return the first value of a field of the request's head, named in small letters; None where it is not there."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


def _names_this_machine(host: str) -> bool:
    return len(host) <= _LONGEST_HOST and _leads_here(host)


@lru_cache(_REMEMBERED)
def _leads_here(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or _is_loopback(name)


@lru_cache(_REMEMBERED)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def find_credentials(scope: Scope) -> tuple[str, ...]:
    """Return all keys and tokens in the headers. Other schemes than Bearer are for whoever stands in front."""
    bearer, keys = [], []
    for name, value in scope["headers"]:
        if name == _AUTHORIZATION:
            given = value.decode("latin-1").strip()
            if given.lower().startswith(_BEARER):
                bearer.append(given[len(_BEARER) :].strip())
        elif name == _API_KEY:
            keys.append(value.decode("latin-1").strip())
    return (*bearer, *keys)
