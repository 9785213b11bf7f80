"""Headers: those of security, on all answers, problems too; those of CORS; and nothing else for HEAD.

No web site's pages may ask, unless a setting names them. Load balancers and link checkers ask with HEAD.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike.serving.errors import ProblemError
from lookalike.serving.rest.problems import respond

DEFAULTS = {
    # What is not a page of ours is data: opened in a browser it loads, runs and frames nothing.
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

ALLOWED = ("Authorization", "X-API-Key", "Content-Type", "X-Request-ID", "If-None-Match")
EXPOSED = ("X-Request-ID", "Retry-After", "ETag")


class SecurityHeaders:
    """Adds what an answer does not say itself."""

    def __init__(self, app: ASGIApp, *, hsts_seconds: int | None) -> None:
        self._app = app
        hsts = {"strict-transport-security": f"max-age={hsts_seconds}"} if hsts_seconds else {}
        self._headers = [(name.encode(), value.encode()) for name, value in {**DEFAULTS, **hsts}.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message["headers"]
                said = {name for name, _ in given}
                message["headers"] = [*given, *(field for field in self._headers if field[0] not in said)]
            await send(message)

        await self._app(scope, receive, add if scope["type"] == "http" else send)


class Cors(CORSMiddleware):
    """Starlette's, without cookies, whose refusals are problems like all others."""

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        super().__init__(
            app, allow_origins=origins, allow_methods=("GET", "POST"), allow_headers=ALLOWED, expose_headers=EXPOSED
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return what a browser asks for before it lets a page ask."""
        response = super().preflight_response(request_headers)
        return response if response.status_code == 200 else _Refused()


class _Refused(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = ProblemError("cross_origin_refused", "This web site, method or header is not allowed from pages.")
        await respond(scope, problem)(scope, receive, send)


class HeadAsGet:
    """Lets everything inside answer HEAD as GET, so that no header can differ."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_bare(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
            elif not message.get("more_body", False):
                await send({"type": "http.response.body", "body": b""})

        asked = {**scope, "method": "GET"}  # a copy: the server goes by its own whether a body is to come
        try:
            await self._app(asked, receive, send_bare)
        finally:
            scope["route"] = asked.get("route")  # requests are measured by it, outside
