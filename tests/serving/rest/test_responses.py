"""Routes that call their endpoint directly: to a client, and in the documentation, they are as any other."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import PlainTextResponse, Response

from lookalike.serving.rest.responses import DirectRoute


def make_app(route_class: type[APIRoute]) -> FastAPI:
    router = APIRouter(route_class=route_class)

    @router.post("/alone", operation_id="alone")
    async def alone(request: Request) -> Response:
        """Takes the request alone."""
        return PlainTextResponse(
            await request.body(), headers={"x-solved": str("fastapi_inner_astack" in request.scope)}
        )

    @router.get("/more", operation_id="more")
    async def more(request: Request, limit: int = 3) -> Response:
        return PlainTextResponse(f"{request.method} {limit}")

    @router.get("/fails", operation_id="fails")
    async def fails(request: Request) -> Response:
        raise LookupError(request.url.path)

    async def explain(_: Request, error: Exception) -> Response:
        return PlainTextResponse(f"no {error.args[0]}", 404)

    app = FastAPI(exception_handlers={LookupError: explain})
    app.include_router(router)
    return app


def ask(app: FastAPI, method: str, url: str, content: bytes | None = None) -> httpx.Response:
    async def main() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.request(method, url, content=content)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "url", "status", "text"),
    [
        ("POST", "/alone", 200, "a body"),
        ("GET", "/alone", 405, '{"detail":"Method Not Allowed"}'),
        ("GET", "/more?limit=7", 200, "GET 7"),
        ("GET", "/fails", 404, "no /fails"),
    ],
)
def test_answers_as_any_other(method: str, url: str, status: int, text: str) -> None:
    replies = [ask(make_app(kind), method, url, b"a body") for kind in (DirectRoute, APIRoute)]
    assert [(reply.status_code, reply.text) for reply in replies] == [(status, text)] * 2
    assert replies[0].headers.get("allow") == replies[1].headers.get("allow")


def test_is_called_without_anything_between() -> None:
    assert ask(make_app(DirectRoute), "POST", "/alone", b"x").headers["x-solved"] == "False"
    assert ask(make_app(APIRoute), "POST", "/alone", b"x").headers["x-solved"] == "True"


def test_is_documented_as_any_other() -> None:
    assert make_app(DirectRoute).openapi() == make_app(APIRoute).openapi()
