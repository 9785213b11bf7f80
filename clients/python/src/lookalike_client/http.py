"""HTTP: one request and its reply, for both shells. They differ only in who waits.

This module alone imports `httpx2`, and the first client that is made imports this module: the library takes longer
to load than all else here, and who only imports `lookalike_client` may never need it.
"""

from __future__ import annotations

import asyncio
import platform
import ssl
import time
from typing import Any

import httpx2

from lookalike_client.calls import Request
from lookalike_client.errors import (
    ConnectionFailedError,
    LookalikeError,
    UnexpectedReplyError,
    out_of_time,
)
from lookalike_client.replies import Reply
from lookalike_client.settings import Settings, Way
from lookalike_client.version import VERSION

CONNECT_SECONDS = 5.0
CONNECTIONS = 100
MAX_REPLY_BYTES = 256 << 20
USER_AGENT = f"lookalike-client/{VERSION} python/{platform.python_version()}"


class Http:
    """The connections of a `Client`."""

    def __init__(self, settings: Settings, way: Way, *, transport: httpx2.BaseTransport | None) -> None:
        self._settings = settings
        self._client = httpx2.Client(**_client_options(settings, way), transport=transport)

    def send(self, request: Request, deadline: float) -> Reply:
        """Return the reply, which is there at the `deadline` of `time.monotonic`. Raises `LookalikeError`."""
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise out_of_time(self._settings.url)
        collected = _Collected()
        try:
            with self._client.stream(**_request_options(request, self._settings, remaining)) as response:
                for chunk in response.iter_bytes():
                    collected.add(chunk)
                    if time.monotonic() > deadline:
                        raise out_of_time(self._settings.url)
                return collected.finish(response)
        except httpx2.RequestError as error:
            failure = _as_error(error, self._settings)
        raise failure  # outside of the handler: the library's error holds the request, and that the key

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class AsyncHttp:
    """The connections of an `AsyncClient`."""

    def __init__(self, settings: Settings, way: Way, *, transport: httpx2.AsyncBaseTransport | None) -> None:
        self._settings = settings
        self._client = httpx2.AsyncClient(**_client_options(settings, way), transport=transport)

    async def send(self, request: Request, deadline: float) -> Reply:
        """Return the reply, which is there at the `deadline` of `time.monotonic`. Raises `LookalikeError`."""
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise out_of_time(self._settings.url)
        collected = _Collected()
        try:
            async with (
                asyncio.timeout(remaining),
                self._client.stream(**_request_options(request, self._settings, remaining)) as response,
            ):
                async for chunk in response.aiter_bytes():
                    collected.add(chunk)
                return collected.finish(response)
        except TimeoutError:
            failure: LookalikeError = out_of_time(self._settings.url)
        except httpx2.RequestError as error:
            failure = _as_error(error, self._settings)
        raise failure  # outside of the handler: the library's error holds the request, and that the key

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _client_options(settings: Settings, way: Way) -> dict[str, Any]:
    """Return how the library is set up.

    Redirects are not followed: the key is for this server. Between us and a server on this machine stands no proxy that
    the environment names for the web.
    """
    is_plain = settings.is_local and settings.url.startswith("http:") and way.proxy is None
    return {
        # reading the certificates of authorities takes longer than a search
        "verify": not is_plain and (load_tls(way) if isinstance(way.verify, str) else way.verify),
        "proxy": way.proxy,
        "trust_env": way.trust_env and not settings.is_local,
        "follow_redirects": False,
        "headers": {"User-Agent": USER_AGENT},
        "limits": httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
    }


def load_tls(way: Way) -> ssl.SSLContext:
    """Return the context for TLS. Raises OSError for a file that cannot be read."""
    if isinstance(way.verify, str):
        return ssl.create_default_context(cafile=way.verify)
    return httpx2.create_ssl_context(way.verify, trust_env=way.trust_env)


def _request_options(request: Request, settings: Settings, seconds: float) -> dict[str, Any]:
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


class _Collected:
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


def _as_error(error: httpx2.RequestError, settings: Settings) -> LookalikeError:
    """Return what went wrong on the way, without the request: that holds the key."""
    said = str(error) or type(error).__name__
    if isinstance(error, httpx2.ReadTimeout | httpx2.WriteTimeout | httpx2.PoolTimeout):
        return out_of_time(settings.url)
    if isinstance(error, httpx2.TransportError):
        return ConnectionFailedError(f"{settings.url} does not answer: {said}")
    return UnexpectedReplyError(f"the reply of {settings.url} cannot be read: {said}")
