"""How a client asks each gateway, at as little cost as Python lets it: what is measured parses no hits."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc
from websockets.asyncio.client import ClientConnection, connect

from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from tests.benchmarks.gateways.queries import Query

HOST = "127.0.0.1"
SERVICE = "/lookalike.v1.LookalikeService"
CHANNEL = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
Reply = bytes | str | pb.StreamResponse


class WrongAnswerError(Exception):
    """A gateway answered with something else than hits."""


class Way(ABC):
    """Connections to one gateway. `ask` may be called for several `places` at a time, for each once at a time."""

    def __init__(self, port: int, grpc_port: int) -> None:
        self.port = port
        self.grpc_port = grpc_port

    @abstractmethod
    async def open(self, places: int, stack: AsyncExitStack) -> None: ...

    @abstractmethod
    async def ask(self, place: int, number: int, query: Query) -> Reply:
        """Return the reply to a query, whose `number` is its own. Raises `WrongAnswerError`."""

    @abstractmethod
    def read_ids(self, reply: Any) -> list[str]:
        """Return the ids of the hits."""


class Rest(Way):
    """HTTP/1.1 with one request at a time on each connection."""

    path = "/v1/search"

    async def open(self, places: int, stack: AsyncExitStack) -> None:
        self._connections = [await asyncio.open_connection(HOST, self.port, limit=2**20) for _ in range(places)]
        for _, writer in self._connections:
            stack.callback(writer.close)

    def write(self, query: Query) -> tuple[str, bytes]:
        return query.to_http()

    async def ask(self, place: int, number: int, query: Query) -> Reply:
        reader, writer = self._connections[place]
        kind, body = self.write(query)
        head = f"POST {self.path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answered = await reader.readuntil(b"\r\n\r\n")
        _, _, rest = answered.lower().partition(b"content-length: ")
        reply = await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        if not answered.startswith(b"HTTP/1.1 200"):
            raise WrongAnswerError(reply)
        return reply

    def read_ids(self, reply: bytes) -> list[str]:
        return [hit["id"] for hit in json.loads(reply)["hits"]]


class Graphql(Rest):
    """HTTP/1.1 with operations."""

    path = "/graphql"

    def write(self, query: Query) -> tuple[str, bytes]:
        return "application/json", query.to_graphql()

    def read_ids(self, reply: bytes) -> list[str]:
        return [hit["id"] for hit in json.loads(reply)["data"]["search"]["hits"]]


class GrpcCalls(Way):
    """A call for each query, over a connection for each place."""

    is_shared = False

    async def open(self, places: int, stack: AsyncExitStack) -> None:
        target = f"{HOST}:{self.grpc_port}"
        count = 1 if self.is_shared else places
        channels = [grpc.aio.insecure_channel(target, options=CHANNEL) for _ in range(count)]
        for channel in channels:
            stack.push_async_callback(channel.close)
        self._calls: list[Any] = [channel.unary_unary(f"{SERVICE}/Search") for channel in channels]

    async def ask(self, place: int, number: int, query: Query) -> Reply:
        call = self._calls[place % len(self._calls)]
        try:
            reply: bytes = await call(query.to_message().SerializeToString(), timeout=120)
        except grpc.RpcError as error:
            raise WrongAnswerError(str(error)) from None
        return reply

    def read_ids(self, reply: bytes) -> list[str]:
        return [hit.id for hit in pb.SearchResponse.FromString(reply).hits]


class GrpcCallsOverOne(GrpcCalls):
    """A call for each query, all over one connection."""

    is_shared = True


class WebSockets(Way):
    """A stream for each place, with one query under way."""

    async def open(self, places: int, stack: AsyncExitStack) -> None:
        self._sockets = [await self.open_one(stack) for _ in range(places)]

    async def open_one(self, stack: AsyncExitStack) -> ClientConnection:
        address = f"ws://{HOST}:{self.port}/v1/stream"
        return await stack.enter_async_context(connect(address, compression=None, proxy=None, max_size=None))

    async def ask(self, place: int, number: int, query: Query) -> Reply:
        socket = self._sockets[place]
        for frame in query.to_frames(number):
            await socket.send(frame)
        while (kind := _kind(reply := await socket.recv())) not in {"hits", "problem"}:
            pass
        if kind == "problem":
            raise WrongAnswerError(reply)
        return reply

    def read_ids(self, reply: str) -> list[str]:
        return [hit["id"] for hit in json.loads(reply)["hits"]]


class OneWebSocket(WebSockets):
    """One stream, over which all places ask."""

    async def open(self, places: int, stack: AsyncExitStack) -> None:
        self._socket = await self.open_one(stack)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._sending = asyncio.Lock()
        reading = asyncio.create_task(self._read())
        stack.callback(reading.cancel)

    async def ask(self, place: int, number: int, query: Query) -> Reply:
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        async with self._sending:
            for frame in query.to_frames(number):
                await self._socket.send(frame)
        return await waiting

    async def _read(self) -> None:
        while True:
            reply = await self._socket.recv()
            kind = _kind(reply)
            if kind in {"hits", "problem"}:
                waiting = self._waiting.pop(_number(reply))
                waiting.set_result(reply) if kind == "hits" else waiting.set_exception(WrongAnswerError(reply))


class OneGrpcStream(Way):
    """One stream of gRPC, over which all places ask."""

    async def open(self, places: int, stack: AsyncExitStack) -> None:
        channel = grpc.aio.insecure_channel(f"{HOST}:{self.grpc_port}", options=CHANNEL)
        stack.push_async_callback(channel.close)
        stream = channel.stream_stream(
            f"{SERVICE}/Stream",
            request_serializer=pb.StreamRequest.SerializeToString,
            response_deserializer=pb.StreamResponse.FromString,
        )
        self._call = stream()
        stack.callback(self._call.cancel)
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._sending = asyncio.Lock()
        reading = asyncio.create_task(self._read())
        stack.callback(reading.cancel)

    async def ask(self, place: int, number: int, query: Query) -> Reply:
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[str(number)] = waiting
        message = pb.StreamRequest(query=pb.StreamQuery(id=str(number), query=query.to_message()))
        async with self._sending:
            await self._call.write(message)
        return await waiting

    async def _read(self) -> None:
        while isinstance(reply := await self._call.read(), pb.StreamResponse):
            kind = reply.WhichOneof("message")
            if kind == "hits":
                self._waiting.pop(reply.hits.id).set_result(reply)
            elif kind == "problem":
                self._waiting.pop(reply.problem.id).set_exception(WrongAnswerError(str(reply)))

    def read_ids(self, reply: pb.StreamResponse) -> list[str]:
        return [hit.id for hit in reply.hits.answer.hits]


def _kind(reply: bytes | str) -> str:
    """Return the type of a message, which stands at its beginning or, of a problem, anywhere."""
    text = str(reply)
    return "hits" if text.startswith('{"type":"hits"') else str(json.loads(text)["type"])


def _number(reply: bytes | str) -> int:
    """Return the id of a message, without parsing all of it."""
    text = str(reply)
    return int(text[text.index('"id":') + 5 :].partition(",")[0].rstrip("}"))


ALONE: Sequence[tuple[str, type[Way]]] = (
    ("REST", Rest),
    ("gRPC", GrpcCalls),
    ("WebSocket", WebSockets),
    ("GraphQL", Graphql),
)
"""Each place has a connection of its own, with one query under way."""
TOGETHER: Sequence[tuple[str, type[Way]]] = (
    ("REST, 32 connections", Rest),
    ("gRPC, 32 calls over one connection", GrpcCallsOverOne),
    ("WebSocket, one stream", OneWebSocket),
    ("gRPC, one stream", OneGrpcStream),
)
"""As many queries are under way, over one connection where the protocol lets them."""
