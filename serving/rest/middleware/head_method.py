"""HEAD: what GET would answer, without the body. Load balancers and link checkers ask so."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


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
