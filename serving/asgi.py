"""What an ASGI server says of a connection: its path, its port, who is behind it, and which credentials were sent."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from starlette._utils import get_route_path  # the very rule by which the router matches
from starlette.datastructures import Headers
from starlette.types import Scope

API_KEY = "x-api-key"

_BEARER = "bearer "
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-real-ip", "origin")
_OWN_PAGES = {"same-origin", "none"}


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
    headers = Headers(scope=scope)
    if any(name in headers for name in _PASSED_ON) or headers.get("sec-fetch-site", "none") not in _OWN_PAGES:
        return False
    return _is_loopback(client_address(scope)) and _names_this_machine(headers.get("host", "localhost"))


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def find_credentials(headers: Headers) -> tuple[str, ...]:
    """Return all keys and tokens in the headers. Other schemes than Bearer are for whoever stands in front."""
    given = [value.strip() for value in headers.getlist("authorization")]
    bearer = [value[len(_BEARER) :].strip() for value in given if value.lower().startswith(_BEARER)]
    return (*bearer, *(value.strip() for value in headers.getlist(API_KEY)))
