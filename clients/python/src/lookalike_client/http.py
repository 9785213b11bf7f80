"""HTTP: what both shells share of their library. They differ only in who waits."""

from __future__ import annotations

import platform
import ssl
from typing import Any

import httpx2

from lookalike_client.calls import Request
from lookalike_client.errors import (
    ConnectionFailedError,
    DeadlineExceededError,
    LookalikeError,
    UnexpectedReplyError,
)
from lookalike_client.replies import Reply
from lookalike_client.settings import Settings
from lookalike_client.version import VERSION

CONNECT_SECONDS = 5.0
CONNECTIONS = 100
MAX_REPLY_BYTES = 256 << 20
USER_AGENT = f"lookalike-client/{VERSION} python/{platform.python_version()}"


def http_options(settings: Settings, verify: ssl.SSLContext | bool, *, trust_env: bool) -> dict[str, Any]:
    """Return how the library is set up.

    Redirects are not followed: the key is for this server. Between us and a server on this machine stands no proxy that
    the environment names for the web.
    """
    return {
        "verify": verify,
        "trust_env": trust_env and not settings.is_local,
        "follow_redirects": False,
        "headers": {"User-Agent": USER_AGENT},
        "limits": httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
    }


def load_tls(verify: bool | str | ssl.SSLContext) -> ssl.SSLContext | bool:
    """Return the context for the certificates in the file `verify`, or what else it is."""
    return ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify


def http_request(request: Request, settings: Settings, seconds: float) -> dict[str, Any]:
    """Return the arguments of the library's `stream`, with the key."""
    headers = dict(request.headers)
    if settings.api_key is not None:
        headers["Authorization"] = f"Bearer {settings.api_key}"
    return {
        "method": request.method,
        "url": settings.url + request.path,
        "params": list(request.params) or None,
        "headers": headers,
        "content": request.content,
        "timeout": httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
    }


class Collected:
    """A reply as it comes. Raises `UnexpectedReplyError` for one that does not end."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._bytes = 0

    def add(self, chunk: bytes) -> None:
        self._bytes += len(chunk)
        if self._bytes > MAX_REPLY_BYTES:
            raise UnexpectedReplyError(f"the reply has more than {MAX_REPLY_BYTES >> 20} MiB")
        self._chunks.append(chunk)

    def finish(self, response: httpx2.Response) -> Reply:
        return Reply(response.status_code, dict(response.headers.items()), b"".join(self._chunks))


def as_error(error: httpx2.RequestError, settings: Settings) -> LookalikeError:
    """Return what went wrong on the way, without the request: that holds the key."""
    said = str(error) or type(error).__name__
    if isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout | httpx2.PoolTimeout):
        return out_of_time(settings)
    if isinstance(error, httpx2.TransportError):
        return ConnectionFailedError(f"{settings.url} does not answer: {said}")
    return UnexpectedReplyError(f"the reply of {settings.url} cannot be read: {said}")


def out_of_time(settings: Settings) -> DeadlineExceededError:
    """Return the error of a call whose time is up."""
    detail = f"{settings.url} did not answer in the call's time: give a longer timeout"
    return DeadlineExceededError("deadline_exceeded", detail, status=504)
