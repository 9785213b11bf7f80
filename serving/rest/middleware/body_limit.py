"""The limit on a body's bytes, before anything of it is parsed."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike.serving.rest.problems import HttpProblemError, respond

DRAINED_BYTES = 64 * 2**20
"""A body declared up to this size may be sent to its end after the answer: many clients only read then.

The server throws it away as it comes. Beyond, the connection is closed.
"""


class BodyLimit:
    """Refuses a body that is declared too large at once, and any other as soon as it grows too large."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            await respond(scope, self._problem(close=int(declared) > DRAINED_BYTES))(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._problem(close=True)
            return message

        return counted

    def _problem(self, *, close: bool) -> HttpProblemError:
        detail = f"The body has more than {self._max_bytes:,} bytes: send a smaller picture."
        return HttpProblemError("body_too_large", detail, close=close)
