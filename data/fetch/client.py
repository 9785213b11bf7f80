"""Bytes over HTTP and HTTPS, for servers that nobody here controls and URLs that anybody may have written.

What may be fetched is stated by a policy, and everything else is refused: the host must be named, all its addresses
must be public, the connection is made to the very address that was checked, and a redirect is checked like a new fetch.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import responses

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError, SSLError

from lookalike.data.errors import FetchError
from lookalike.data.fetch.addresses import Target, lookup, refused_address, resolve_redirect, shown, target_of
from lookalike.data.fetch.connections import deadline, pool_to, seconds_left
from lookalike.data.fetch.policy import HOSTS_SETTING, NETWORKS_SETTING, PORTS_SETTING, FetchPolicy
from lookalike.data.stores.retry import Backoff

__all__ = ["FetchPolicy", "fetch", "fetch_typed", "remote_version"]

BACKOFF = Backoff(0.2)
MAX_RETRY_AFTER_SECONDS = 10  # a server that wants a longer rest is left alone
CHUNK = 2**16
DRAINED = 2**14  # bytes of an error page that are read to keep its connection

_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "Lookalike"}
_REDIRECTS = {301, 302, 303, 307, 308}
_TRANSIENT = {429, 500, 502, 503, 504}
_HEAD_MAY_LIE = frozenset(range(400, 600)) - {429, 503}
"""What a server may answer to HEAD though it answers GET well; the two left out ask for patience."""
_COMPRESSIONS = frozenset(
    {"gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd", "dcb", "dcz", "exi", "pack200-gzip", "lzma"}
)
"""The content codings of IANA that change the bytes; others are names that storage servers hand on from an upload."""
_REASONS = {404: "missing", 410: "missing", 401: "forbidden", 403: "forbidden"}
_SECONDS = re.compile(r"[0-9]{1,9}")


def fetch(url: str, policy: FetchPolicy, *, max_bytes: int | None = None) -> bytes:
    """Return the body behind `url`.

    Args:
        url: `http://…` or `https://…`.
        policy: what may be fetched, and what it may cost.
        max_bytes: the largest body, where it is another than the policy's.

    Raises:
        FetchError: with the reason `bad_url`, `host_not_allowed`, `private_address`, `missing`, `forbidden`,
            `too_many_bytes`, `unreachable`, `too_many_redirects` or `unreadable`.
        InputError: the policy's `ca_file` is not on this machine.
    """
    return fetch_typed(url, policy, max_bytes=max_bytes)[0]


def fetch_typed(url: str, policy: FetchPolicy, *, max_bytes: int | None = None) -> tuple[bytes, str]:
    """Return the body behind `url`, and its content type as the server says it. Raises as `fetch` does."""
    limit = policy.max_bytes if max_bytes is None else max_bytes
    with deadline(policy.total_seconds):
        reply = _try(_Request("GET", policy, limit), url)
    return reply.body, reply.headers.get("Content-Type", "")


def remote_version(url: str, policy: FetchPolicy) -> str | None:
    """Return what changes when the body behind `url` does, without reading it; None where the server does not say.

    It is the ETag, or the time of the last change with the size in bytes. Raises as `fetch` does.
    """
    with deadline(policy.total_seconds):
        reply = _try(_Request("HEAD", policy, None, _HEAD_MAY_LIE), url)
        if reply.status in _HEAD_MAY_LIE:
            reply = _try(_Request("GET", policy, None), url)
    changed, size = reply.headers.get("Last-Modified"), reply.headers.get("Content-Length")
    return reply.headers.get("ETag") or (f"{changed} {size}" if changed and size else None)


@dataclass(frozen=True, slots=True)
class _Request:
    """`max_bytes` None: the body is not read. A `tolerated` status is not an error."""

    method: str
    policy: FetchPolicy
    max_bytes: int | None
    tolerated: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class _TransientError(Exception):
    """It may go better next time, after `wait` seconds at the earliest."""

    def __init__(self, message: str, wait: float = 0) -> None:
        super().__init__(message)
        self.wait = wait


def _try(request: _Request, url: str) -> _Reply:
    for attempt in range(request.policy.retries + 1):
        try:
            return _follow(request, url, attempt)
        except _TransientError as error:
            wait = max(error.wait, BACKOFF.seconds(attempt + 1))
            if attempt == request.policy.retries or error.wait > MAX_RETRY_AFTER_SECONDS or not _slept(wait):
                tries = f"try {attempt + 1} of {request.policy.retries + 1}"
                raise FetchError("unreachable", f"{shown(url)} cannot be fetched ({tries}): {error}") from error
    raise AssertionError("there is at least one attempt")


def _slept(seconds: float) -> bool:
    """Tell whether there was time to sleep, and some is left."""
    try:
        in_time = seconds < seconds_left()
    except TimeoutError:
        return False
    if in_time:
        time.sleep(seconds)
    return in_time


def _follow(request: _Request, url: str, attempt: int) -> _Reply:
    here = url
    for _ in range(request.policy.max_redirects + 1):
        target = target_of(here)
        reply = _ask(request, target, url, attempt)
        if reply.status not in _REDIRECTS:
            return reply
        here = resolve_redirect(here, reply.headers.get("Location", ""))
        if target.scheme == "https" and target_of(here).scheme == "http":
            raise FetchError("bad_url", f"{shown(url)} redirects from https to http, which would give up its safety")
    raise FetchError("too_many_redirects", f"{shown(url)} redirects more than {request.policy.max_redirects} times")


def _ask(request: _Request, target: Target, url: str, attempt: int) -> _Reply:
    """Ask once, of one checked address; another attempt asks another of them."""
    try:
        addresses = _check_addresses(target, request.policy, url)
        address = addresses[attempt % len(addresses)]
        response = _response(request, target, address)
        try:
            return _reply(request, response, url)
        finally:
            _let_go(response)
    except (HTTPError, OSError) as error:
        if _is_final(error):
            raise FetchError("unreachable", f"{shown(url)} cannot be fetched: {error}") from error
        raise _TransientError(str(error)) from error


def _check_addresses(target: Target, policy: FetchPolicy, url: str) -> tuple[str, ...]:
    if not policy.allows_host(target.host):
        message = f"{shown(url)}: {target.host} is not among the hosts in {HOSTS_SETTING}"
        raise FetchError("host_not_allowed", message)
    if target.port not in policy.allowed_ports:
        message = f"{shown(url)}: port {target.port} of {target.host} is not among the ports in {PORTS_SETTING}"
        raise FetchError("host_not_allowed", message)
    addresses = lookup(target.host, seconds_left())
    refused = refused_address(addresses, policy.allowed_networks)
    if refused is not None:
        message = f"{shown(url)}: {target.host} is at {refused}, not a public address, nor one in {NETWORKS_SETTING}"
        raise FetchError("private_address", message)
    return addresses


def _response(request: _Request, target: Target, address: str) -> BaseHTTPResponse:
    left = seconds_left()
    return pool_to(target, address, request.policy.ca_file).urlopen(
        request.method,
        target.path,
        headers={**_HEADERS, "Host": target.authority},
        retries=False,
        redirect=False,
        timeout=Timeout(connect=min(request.policy.connect_seconds, left), read=left),
        pool_timeout=left,  # type: ignore[arg-type] # it waits for parts of a second, too
        preload_content=False,
        decode_content=False,
    )


def _reply(request: _Request, response: BaseHTTPResponse, url: str) -> _Reply:
    status = response.status
    if status in _TRANSIENT - request.tolerated:
        rest = response.headers.get("Retry-After", "")
        raise _TransientError(
            f"the server answered {_status_line(status)}", float(rest) if _SECONDS.fullmatch(rest) else 0
        )
    if status == HTTPStatus.OK and request.max_bytes is not None:
        return _Reply(status, response.headers, _body(response, request.max_bytes, url))
    is_redirect = status in _REDIRECTS and "Location" in response.headers
    if status == HTTPStatus.OK or is_redirect or status in request.tolerated:
        return _Reply(status, response.headers)
    raise FetchError(_REASONS.get(status, "unreadable"), f"{shown(url)}: the server answered {_status_line(status)}")


def _body(response: BaseHTTPResponse, limit: int, url: str) -> bytes:
    encoding = response.headers.get("Content-Encoding", "")
    if _COMPRESSIONS & {name.strip().lower() for name in encoding.split(",")}:  # a few bytes could become gigabytes
        raise FetchError("unreadable", f"{shown(url)}: the server sent it {encoding!r}, though asked not to encode it")
    data = bytearray()
    while len(data) <= limit and (response.length_remaining or 0) <= limit - len(data):
        chunk = response.read(min(CHUNK, limit + 1 - len(data)))
        if not chunk:
            return bytes(data)
        data += chunk
    raise FetchError("too_many_bytes", f"{shown(url)} has more bytes than the limit, {limit:,}")


def _let_go(response: BaseHTTPResponse) -> None:
    """Give the connection back: to be used again where little is left to read from it, and closed where more is."""
    rest = response.length_remaining
    if rest == 0 or (rest is not None and rest <= DRAINED and response.status != HTTPStatus.OK):
        response.drain_conn()
    else:
        response.close()
    response.release_conn()


def _is_final(error: Exception) -> bool:
    """Tell whether trying again would end the same: there is no such host, or it is not who it should be."""
    if isinstance(error, SSLError):
        return bool(error.args) and isinstance(error.args[0], ssl.SSLCertVerificationError)
    return isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN


def _status_line(status: int) -> str:
    return f"{status} {responses.get(status, '')}".rstrip()
