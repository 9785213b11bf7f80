"""Proxies in front: who asked, and below which path, as those report it that a setting trusts."""

from __future__ import annotations

import re
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from lookalike.serving.settings import ROOT_PATH

_PATH = re.compile(ROOT_PATH)


class Proxies:
    """Gives a request the path below which it is served, and where a trusted proxy sent it, the client's address.

    A path that begins with the root path is left as it is: proxies may take it off, or leave it.
    """

    def __init__(self, app: ASGIApp, *, root_path: str, trusted: str | None) -> None:
        self._app = app
        self._root_path = root_path
        known: Any = ProxyHeadersMiddleware  # its types are uvicorn's own
        self._known = known(app, trusted) if trusted else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        prefix = self._find_prefix(scope)
        if prefix:
            scope["root_path"] = prefix
            if not scope["path"].startswith(f"{prefix}/"):
                scope["path"] = prefix + scope["path"]
                scope["raw_path"] = prefix.encode() + scope.get("raw_path", b"")
        app = self._app if self._known is None else self._known
        await app(scope, receive, send)

    def _find_prefix(self, scope: Scope) -> str:
        client = scope.get("client")
        if self._known is not None and client is not None and client[0] in self._known.trusted_hosts:
            given = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
            if given and _PATH.fullmatch(given):
                return given
        return self._root_path
