"""CORS: which web sites' pages may ask. None may, unless a setting names them."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lookalike.serving.errors import ProblemError
from lookalike.serving.rest.problems import respond

ALLOWED = ("Authorization", "X-API-Key", "Content-Type", "X-Request-ID", "If-None-Match")
EXPOSED = ("X-Request-ID", "Retry-After", "ETag")


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
