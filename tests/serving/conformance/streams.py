"""Streams, over WebSocket and over gRPC: one for each key, over which all its queries are asked."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, Protocol

import grpc
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.pb import lookalike_pb2_grpc as services
from tests.serving.conformance.adapters import BatchOutcome, CannotAskError, Outcome, Query
from tests.serving.conformance.grpc import code_of, to_message
from tests.support.grpc_streams import read_message
from tests.support.listening import Listening


class RefusedError(Exception):
    """The stream was not opened; the text is the code."""


class Stream(Protocol):
    """One open stream."""

    snapshot: str

    def ask(self, item: str, query: Query) -> None: ...

    def pin(self, snapshot: str | None) -> None: ...

    def receive(self) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


class StreamGateway(ABC):
    """Asks over streams. A batch is asked as queries at the same time, which stay on its snapshot."""

    def __init__(self, server: Listening) -> None:
        self._server = server
        self._streams: dict[str | None, Stream] = {}

    @abstractmethod
    def open(self, server: Listening, key: str | None) -> Stream:
        """Open a stream. Raises `RefusedError`."""

    def search(self, query: Query, key: str | None) -> Outcome:
        try:
            return next(iter(self._ask(self._stream(key), [query])))
        except RefusedError as refusal:
            return Outcome(str(refusal))

    def search_batch(self, queries: Sequence[Query], snapshot: str | None, key: str | None) -> BatchOutcome:
        if not queries or any("snapshot" in query for query in queries):
            raise CannotAskError("a stream has no batches: each of its queries may name a snapshot")
        limits = self._server.settings.limits
        if len(queries) > limits.max_queries or sum(map(_count_pictures, queries)) > limits.max_pictures:
            raise CannotAskError("a stream has no batches: its window bounds what is under way")
        try:
            stream = self._stream(key)
        except RefusedError as refusal:
            return BatchOutcome(str(refusal))
        problem = _pin(stream, snapshot)
        if problem is not None:
            return BatchOutcome(problem)
        found = self._ask(stream, queries)
        assert {one.snapshot for one in found} <= {None, stream.snapshot}
        return BatchOutcome(None, stream.snapshot, [replace(one, snapshot=None) for one in found])

    def close(self) -> None:
        for stream in self._streams.values():
            stream.close()

    def _stream(self, key: str | None) -> Stream:
        if key not in self._streams:
            self._streams[key] = self.open(self._server, key)
        return self._streams[key]

    def _ask(self, stream: Stream, queries: Sequence[Query]) -> Sequence[Outcome]:
        for number, query in enumerate(queries):
            stream.ask(str(number), query)
        found: dict[str, Outcome] = {}
        while len(found) < len(queries):
            message = stream.receive()
            found[message["id"]] = _read(message)
        return [found[str(number)] for number in range(len(queries))]


def _count_pictures(query: Query) -> int:
    return sum("image" in one for one in (query, *query.get("positive", ()), *query.get("negative", ())))


def _pin(stream: Stream, snapshot: str | None) -> str | None:
    """Let a stream stay on a snapshot; return the code of the problem, None where there is none."""
    stream.pin(snapshot)
    found = stream.receive()
    assert found["type"] == "snapshot"
    return found["problem"]["code"] if "problem" in found else None


def _read(message: Mapping[str, Any]) -> Outcome:
    if message["type"] == "problem":
        return Outcome(message["code"])
    found = (message["snapshot"], message["hits"], message.get("facets"), message.get("understood"), message["total"])
    return Outcome(None, *found)


class WebSocketGateway(StreamGateway):
    """Streams as JSON, with pictures and packed vectors in frames."""

    def open(self, server: Listening, key: str | None) -> Stream:
        return _WebSocketStream(server, key)


class _WebSocketStream:
    def __init__(self, server: Listening, key: str | None) -> None:
        address = f"ws://127.0.0.1:{server.settings.port}/v1/stream"
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        try:
            self._socket = connect(address, additional_headers=headers, compression=None, max_size=None, proxy=None)
        except InvalidStatus as refusal:
            raise RefusedError(json.loads(refusal.response.body or b"{}")["code"]) from refusal
        if key is None:
            self._send({"type": "start"})
        hello = self.receive()
        if hello["type"] == "problem":
            raise RefusedError(hello["code"])
        self.snapshot: str = hello["snapshot"]

    def ask(self, item: str, query: Query) -> None:
        frames: list[bytes] = []
        fields = {name: _frame(value, frames) for name, value in query.items()}
        self._send({"type": "query", "id": item, "frames": len(frames), **fields})
        for frame in frames:
            self._socket.send(frame)

    def pin(self, snapshot: str | None) -> None:
        self._send({"type": "pin", "snapshot": snapshot})

    def receive(self) -> Mapping[str, Any]:
        found: dict[str, Any] = json.loads(self._socket.recv(timeout=60))
        return found

    def close(self) -> None:
        self._socket.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        self._socket.send(json.dumps(message))


def _frame(value: Any, frames: list[bytes]) -> Any:
    """Put bytes into frames, and their numbers in their place."""
    if isinstance(value, bytes):
        frames.append(value)
        return {"frame": len(frames) - 1}
    if isinstance(value, Mapping):
        return {name: _frame(inner, frames) for name, inner in value.items()}
    return [_frame(inner, frames) for inner in value] if isinstance(value, list) else value


class GrpcStreamGateway(StreamGateway):
    """Streams over the method `Stream`."""

    def open(self, server: Listening, key: str | None) -> Stream:
        return _GrpcStream(server, key)


class _GrpcStream:
    def __init__(self, server: Listening, key: str | None) -> None:
        self._channel = grpc.insecure_channel(server.target, options=[("grpc.max_receive_message_length", -1)])
        self._requests: SimpleQueue[pb.StreamRequest | None] = SimpleQueue()
        requests: Iterable[Any] = iter(self._requests.get, None)
        metadata = () if key is None else (("authorization", f"Bearer {key}"),)
        self._call = services.LookalikeServiceStub(self._channel).Stream(iter(requests), metadata=metadata)
        self.snapshot = ""
        try:
            self.snapshot = self.receive()["snapshot"]
        except grpc.RpcError as error:
            self.close()
            raise RefusedError(code_of(error)) from error

    def ask(self, item: str, query: Query) -> None:
        self._requests.put(pb.StreamRequest(query=pb.StreamQuery(id=item, query=to_message(query))))

    def pin(self, snapshot: str | None) -> None:
        self._requests.put(pb.StreamRequest(pin=pb.StreamPin(snapshot=snapshot)))

    def receive(self) -> Mapping[str, Any]:
        return read_message(next(self._call))

    def close(self) -> None:
        self._requests.put(None)
        self._channel.close()
