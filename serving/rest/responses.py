"""Responses: JSON that no cache may keep, and what the paths of products mean.

Pictures by their first bytes: the content type that a browser may see.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.convertors import Convertor, register_url_convertor
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from lookalike.serving.replies import encode

NOT_STORED = {"cache-control": "no-store"}
"""What is answered belongs to one caller and one snapshot: no cache on the way may keep it."""

LINES = "application/x-ndjson"

_QUALITY = re.compile(r"[01](\.[0-9]{0,3})?")
_TYPES = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"II\*\0|MM\0\*"), "image/tiff"),
    (re.compile(rb"BM"), "image/bmp"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb".{4}ftyphei[cx]", re.DOTALL), "image/heic"),
)


class _ProductConvertor(Convertor[str]):
    """An id in a path: any letters, line ends too."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("product", _ProductConvertor())


class DirectRoute(APIRoute):
    """A route that FastAPI documents as ever. An endpoint that takes the request alone is called without it.

    It reads the request itself, so there is nothing to solve or to check before it.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if not self._takes_request_alone or scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    @cached_property
    def _takes_request_alone(self) -> bool:
        return list(inspect.signature(self.endpoint).parameters) == ["request"]


class PartRoute(DirectRoute):
    """A route whose last segment is literal: the product `a/image` is at `a%2Fimage`, the picture of `a` at `a/image`.

    Servers decode a path before it is matched, so that both look alike; only the raw path tells.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as ever, unless the literal segment was part of an encoded id."""
        part = self.path.rsplit("/", 1)[1]
        raw: Any = scope.get("raw_path")
        if raw and not raw.partition(b"?")[0].endswith(f"/{part}".encode()):
            return Match.NONE, {}
        return super().matches(scope)


def content_type(data: bytes) -> str | None:
    """Return the type of a picture, None for anything that is not surely one: no HTML, no SVG with scripts."""
    return next((name for pattern, name in _TYPES if pattern.match(data)), None)


def reply(content: BaseModel | Mapping[str, Any], status: int = 200) -> Response:
    """Return a model, or what one describes, as a response: past FastAPI's second validation of it."""
    return respond_json(encode(content), status)


def respond_json(body: bytes, status: int = 200) -> Response:
    """Return JSON as a response."""
    return Response(body, status_code=status, media_type="application/json", headers=NOT_STORED)


Deliver = Callable[[bytes], Awaitable[None]]
"""Sends a line; it waits until the client has room for it."""


class LinesResponse(StreamingResponse):
    """Lines of JSON, each sent when it is made; a client that hangs up ends the making.

    Until the first line there is no answer yet: what is raised before becomes a problem.
    """

    media_type = LINES

    def __init__(self, write: Callable[[Deliver], Awaitable[None]]) -> None:
        super().__init__((), headers=NOT_STORED)
        self._write = write

    async def stream_response(self, send: Send) -> None:
        """Send all lines."""
        head: list[Message] = [{"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}]
        turn = asyncio.Lock()

        async def deliver(line: bytes) -> None:
            async with turn:
                if head:
                    await send(head.pop())
                await send({"type": "http.response.body", "body": line, "more_body": True})

        await self._write(deliver)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def wants_lines(headers: Headers) -> bool:
    """Tell whether a client names lines of JSON as what it takes, and likes nothing better."""
    kinds: dict[str, float] = {}
    for part in ",".join(headers.getlist("accept")).split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        kinds[kind] = float(quality) if _QUALITY.fullmatch(quality) else 0.0
    return kinds.get(LINES, 0.0) > 0 and kinds[LINES] >= kinds.get("application/json", 0.0)
