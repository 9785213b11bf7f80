"""Callers that ask a server over HTTP, WebSocket and gRPC, each without end, and keep account of every answer."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import grpc
import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.pb import lookalike_pb2_grpc as services
from tests.support.websockets import WebSocketClient

PAUSE_SECONDS = 0.2
PATIENCE_SECONDS = 30.0
STREAM_WINDOW = 4

ASKED = itertools.count()


class Tally:
    """What came of the queries: answers by gateway and by snapshot, and each failure in words."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.snapshots: Counter[str] = Counter()
        self.failures: list[str] = []
        self.failed: Counter[str] = Counter()
        self.repeated = 0
        """Queries over WebSocket that the server gave back with `stopping`, as its protocol says."""
        self.slowest = 0.0
        self.last_failure = 0.0

    def answer(self, gateway: str, snapshot: str, seconds: float) -> None:
        self.answers[gateway] += 1
        self.snapshots[snapshot] += 1
        self.slowest = max(self.slowest, seconds)

    def fail(self, gateway: str, why: str) -> None:
        self.failed[gateway] += 1
        self.last_failure = time.monotonic()
        if len(self.failures) < 100:
            self.failures.append(f"{gateway}: {why}")


class Load:
    """So many callers for each gateway, in a thread, until the context ends; `tally` can be read at any time.

    Without a pause they take all that a machine has: a test that waits for other work beside them gives one, in seconds
    between two queries of a caller.
    """

    def __init__(
        self, url: str, products: list[str], *, http: int = 2, websocket: int = 1, grpc: int = 1, pause: float = 0.0
    ) -> None:
        self.tally = Tally()
        self._url = url
        self._products = products
        self._pause = pause
        self._callers = [self._ask_http] * http + [self._ask_websocket] * websocket + [self._ask_grpc] * grpc
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def go_on(self, answers: int, seconds: float = 300.0) -> None:
        """Wait until so many more queries were answered."""
        goal = self.tally.answers.total() + answers
        self.wait(lambda tally: tally.answers.total() >= goal, seconds)

    def wait(self, condition: Callable[[Tally], bool], seconds: float = 300.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition(self.tally):
            assert time.monotonic() < deadline, f"{dict(self.tally.answers)}, {self.tally.failures[-5:]}"
            assert self._thread.is_alive(), "the callers have ended"
            time.sleep(0.05)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for caller in self._callers:
                group.create_task(caller())

    async def _queries(self) -> AsyncIterator[str]:
        while not self._stop.is_set():
            yield self._products[next(ASKED) % len(self._products)]
            await asyncio.sleep(self._pause)

    async def _ask_http(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=PATIENCE_SECONDS, trust_env=False) as client:
            async for product in self._queries():
                began = time.monotonic()
                try:
                    reply = await client.post("/v1/search", json={"product_id": product, "k": 3})
                except httpx.HTTPError as error:
                    await self._fail("http", repr(error))
                    continue
                if reply.status_code == httpx.codes.OK:
                    self.tally.answer("http", reply.json()["snapshot"], time.monotonic() - began)
                else:
                    await self._fail("http", f"{reply.status_code} {reply.text[:200]}")

    async def _ask_grpc(self) -> None:
        async with grpc.aio.insecure_channel(self._url.removeprefix("http://")) as channel:
            ask = services.LookalikeServiceStub(channel).Search
            async for product in self._queries():
                began = time.monotonic()
                try:
                    reply = await ask(pb.SearchRequest(product_id=product, k=3), timeout=PATIENCE_SECONDS)
                except grpc.aio.AioRpcError as error:
                    await self._fail("grpc", f"{error.code().name} {error.details()}")
                else:
                    self.tally.answer("grpc", reply.snapshot, time.monotonic() - began)

    async def _ask_websocket(self) -> None:
        while not self._stop.is_set():
            try:
                async with self._stream() as stream:
                    await self._ask_stream(stream)
            except (OSError, ConnectionClosed, TimeoutError, ValueError, AssertionError) as error:
                await self._fail("websocket", repr(error))

    @asynccontextmanager
    async def _stream(self) -> AsyncIterator[WebSocketClient]:
        address = f"{self._url.replace('http://', 'ws://')}/v1/stream"
        async with connect(address, proxy=None, compression=None, open_timeout=PATIENCE_SECONDS) as socket:
            client = WebSocketClient(socket)
            assert (await client.read())["type"] == "hello"
            yield client

    async def _ask_stream(self, stream: WebSocketClient) -> None:
        """Ask until the server says `goaway`, and then read the answers of what it took."""
        under_way: dict[int, float] = {}
        is_leaving = False
        queries = self._queries()
        while True:
            while not is_leaving and len(under_way) < STREAM_WINDOW:
                if (product := await anext(queries, None)) is None:
                    break
                item = next(ASKED)
                under_way[item] = time.monotonic()
                await stream.ask(item, product_id=product, k=3)
            if not under_way:
                return
            message = await self._read(stream, under_way)
            is_leaving |= message["type"] == "goaway"

    async def _read(self, stream: WebSocketClient, under_way: dict[int, float]) -> dict[str, Any]:
        try:
            message = await stream.read()
        except ConnectionClosed as error:
            raise ValueError(f"{len(under_way)} queries had no answer: {error!r}") from error
        if message["type"] == "hits":
            began = under_way.pop(message["id"])
            self.tally.answer("websocket", message["snapshot"], time.monotonic() - began)
        elif message["type"] == "problem":
            under_way.pop(message["id"])
            if message["code"] != "stopping":
                raise ValueError(f"{message['code']}: {message['detail']}")
            self.tally.repeated += 1
        return message

    async def _fail(self, gateway: str, why: str) -> None:
        self.tally.fail(gateway, why)
        await asyncio.sleep(PAUSE_SECONDS)
