"""Who calls, as gRPC says it: address, keys and the request's id, in the terms of admission."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import unquote

import grpc
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from lookalike.data.spans import has_traces
from lookalike.serving.access.admission import AccessRequest, Operation

REQUEST_ID = "x-request-id"

_BEARER = "bearer "
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

Context = grpc.aio.ServicerContext[bytes, bytes]


class Callers:
    """Reads a call's metadata. `trusted` are proxies whose X-Forwarded-For is believed."""

    def __init__(self, port: int | None, trusted: str | None) -> None:
        self._port = port
        self._proxies = ProxyHeadersMiddleware(_no_application, trusted).trusted_hosts if trusted else None

    def describe(self, context: Context, method: str, operation: Operation) -> tuple[AccessRequest, str | None]:
        """Return what admission decides about, and the request's id where the caller gave one."""
        metadata = _read_metadata(context)
        access = AccessRequest(
            operation,
            _find_credentials(metadata),
            address=self._find_address(context.peer(), metadata),
            port=self._port,
            method="grpc",
            path=method,
        )
        given = metadata.get(REQUEST_ID, ("",))[0]
        return access, given if _SANE_ID.fullmatch(given) else None

    def find_trace(self, context: Context) -> str | None:
        """Return the `traceparent` of a call, as W3C writes it; None where no traces are sent."""
        return _read_metadata(context).get("traceparent", (None,))[0] if has_traces() else None

    def _find_address(self, peer: str, metadata: Mapping[str, Sequence[str]]) -> str:
        address = parse_peer(peer)
        forwarded = ", ".join(metadata.get("x-forwarded-for", ()))
        if self._proxies is None or not forwarded or address not in self._proxies:
            return address
        found, _ = self._proxies.get_trusted_client_address(forwarded)
        return found or address


@lru_cache(1024)
def parse_peer(peer: str) -> str:
    """Return the network address in a peer as gRPC writes it: `ipv4:192.0.2.1:5000`, `ipv6:%5B::1%5D:5000`."""
    kind, _, place = unquote(peer).partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return kind or "unknown"
    host = place.rpartition(":")[0].strip("[]")
    return host.removeprefix("::ffff:") if "." in host else host


def _read_metadata(context: Context) -> dict[str, tuple[str, ...]]:
    """Return all values of each name. Those of binary names are left out: none of them is ours."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            found[name] = (*found.get(name, ()), value)
    return found


def _find_credentials(metadata: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Other schemes than Bearer are for whoever stands in front of this server."""
    given = [value.strip() for value in metadata.get("authorization", ())]
    bearer = [value[len(_BEARER) :].strip() for value in given if value.lower().startswith(_BEARER)]
    return (*bearer, *(value.strip() for value in metadata.get("x-api-key", ())))


async def _no_application(*_: object) -> None:
    raise NotImplementedError
