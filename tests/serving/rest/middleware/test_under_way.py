"""Bytes of bodies and replies that are under way: refused beyond their budget, and given back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest

from lookalike.serving.replies import product_path
from tests.serving.conftest import Serve
from tests.support.client import Client, wait_for
from tests.support.shop import Shop, picture

MEBIBYTE = 2**20
LARGE = 3 * MEBIBYTE


@pytest.fixture
def client(shop: Shop, serve: Serve) -> Client:
    shop.publish(24)
    client = serve(limits={"bodies_bytes": 4 * MEBIBYTE, "replies_bytes": 4 * MEBIBYTE})
    client.wait(lambda state: state["ready"])
    return client


class Upload:
    """A body whose end comes when it may."""

    def __init__(self, client: Client, size: int) -> None:
        self.may_end = asyncio.Event()
        self._client = client
        self._size = size
        self.reply: Future[httpx.Response] = asyncio.run_coroutine_threadsafe(self._post(), client._loop)

    async def _post(self) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        return await self._client._http.post("/v1/search", content=self._parts(), headers=headers)

    async def _parts(self) -> AsyncIterator[bytes]:
        for _ in range(self._size // 2**16):
            yield b" " * 2**16
        await self.may_end.wait()
        yield json.dumps({"product_id": "a"}).encode()

    def end(self) -> httpx.Response:
        self._client._loop.call_soon_threadsafe(self.may_end.set)
        return self.reply.result(10)


def test_bodies_are_bounded_together_and_a_small_one_finds_room(client: Client) -> None:
    budget = client.runtime.bodies
    first = Upload(client, MEBIBYTE)
    wait_for(lambda: budget.held, lambda held: held >= MEBIBYTE)
    second = Upload(client, MEBIBYTE)
    refused = second.reply.result(10)
    assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
    assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")
    assert client.post("/v1/search", files={"image": ("a.png", picture(1))}).status_code == 200
    assert client.search(product_id="a").status_code == 200
    assert first.end().status_code == 200
    wait_for(lambda: budget.held, lambda held: held == 0)
    assert Upload(client, 2 * MEBIBYTE).end().status_code == 200


def test_a_body_that_nobody_waits_for_gives_its_bytes_back(client: Client) -> None:
    upload = Upload(client, MEBIBYTE)
    wait_for(lambda: client.runtime.bodies.held, lambda held: held >= MEBIBYTE)
    upload.reply.cancel()
    wait_for(lambda: client.runtime.bodies.held, lambda held: held == 0)


class Reader:
    """Asks the application itself, and reads no more than the beginning of the reply until it may."""

    def __init__(self, client: Client, path: str) -> None:
        self.sent: list[Any] = []
        self.may_read = asyncio.Event()
        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": [], "client": ("192.0.2.1", 1), "server": ("shop", 80), "scheme": "http",
        }  # fmt: skip
        work: Any = client.app(scope, self._receive, self._send)
        self.task: Future[Any] = asyncio.run_coroutine_threadsafe(work, client._loop)
        self._client = client

    async def _receive(self) -> dict[str, Any]:
        if self.sent and not self.sent[-1].get("more_body", True):
            return {"type": "http.disconnect"}
        if not getattr(self, "_asked", False):
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.sleep(3600)
        raise AssertionError

    async def _send(self, message: Any) -> None:
        if message.get("body"):
            await self.may_read.wait()
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    def read(self) -> bytes:
        self._client._loop.call_soon_threadsafe(self.may_read.set)
        self.task.result(10)
        return b"".join(message.get("body", b"") for message in self.sent)


def test_replies_are_bounded_together_until_they_are_read(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "pictures-1" / "0001.png"
    file.write_bytes(file.read_bytes() + bytes(LARGE))
    path = product_path("a", "image")
    budget = client.runtime.replies
    first = Reader(client, path)
    wait_for(lambda: budget.held, lambda held: held >= LARGE)
    refused = client.get(path)
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (429, "overloaded", "1")
    assert client.search(product_id="a", k=24).status_code == 200
    assert len(first.read()) == file.stat().st_size
    assert first.status == 200
    wait_for(lambda: budget.held, lambda held: held == 0)
    assert len(client.get(path).content) == file.stat().st_size
