"""A client of the method `Stream`: messages as objects, pictures where a query has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.pb import lookalike_pb2_grpc as services
from tests.serving.conformance.grpc import read_answer, to_message
from tests.support.stream_clients import StreamClient, StreamEndedError

WINDOW = 64 * 2**10
SENDING_FAILED = "sending failed"
"""What an end is called if the client lost its reason, as gRPC does where a message fails that it just sends."""


class GrpcStreamClient(StreamClient):
    """A stream over the method `Stream`."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self.call = call

    async def say(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            kind, fields = message["type"], {name: value for name, value in message.items() if name != "type"}
            if kind == "query":
                await self.ask(**{"item" if name == "id" else name: value for name, value in fields.items()})
            else:
                kinds: Any = {"start": pb.StreamStart, "cancel": pb.StreamCancel, "pin": pb.StreamPin}
                await self.call.write(pb.StreamRequest(**{kind: kinds[kind](**fields)}))

    async def ask(self, item: Any, *pictures: bytes, **fields: Any) -> None:
        timeout = fields.pop("timeout", None)
        if len(pictures) == 1 and "image" not in fields:
            fields["image"] = pictures[0]
        query = to_message({name: _fill(value, pictures) for name, value in fields.items() if value is not None})
        await self.call.write(pb.StreamRequest(query=pb.StreamQuery(id=str(item), query=query, timeout=timeout)))

    async def receive(self) -> dict[str, Any]:
        try:
            message = await self.call.read()
        except grpc.aio.AioRpcError as error:
            raise StreamEndedError(_code_of(error)) from error
        if message is grpc.aio.EOF:
            raise StreamEndedError
        return read_message(message)

    async def finish(self) -> None:
        await self.call.done_writing()


def _code_of(error: grpc.aio.AioRpcError) -> str:
    """Return our code of an error of an asynchronous call, which `grpc_status` reads only of calls that last."""
    trailing = dict(error.trailing_metadata() or ())
    if not trailing and error.code() is grpc.StatusCode.INTERNAL:
        return SENDING_FAILED
    info = ErrorInfo()
    assert Status.FromString(trailing["grpc-status-details-bin"]).details[0].Unpack(info), error
    return str(info.reason)


def _fill(value: Any, pictures: Sequence[bytes]) -> Any:
    """Put pictures where their numbers stand."""
    if isinstance(value, list):
        return [_fill(one, pictures) for one in value]
    if not isinstance(value, Mapping):
        return value
    if set(value) == {"frame"}:
        return pictures[value["frame"]]
    return {name: _fill(inner, pictures) for name, inner in value.items()}


def read_message(message: pb.StreamResponse) -> dict[str, Any]:
    """Return a message as docs/streaming.md shows it."""
    kind = message.WhichOneof("message")
    assert kind is not None
    found = getattr(message, kind)
    if kind == "hits":
        answer = read_answer(found.answer, found.answer.snapshot)
        head = {"type": kind, "id": found.id, "snapshot": answer.snapshot, "took_ms": found.answer.took_ms}
        facets = {} if answer.facets is None else {"facets": answer.facets}
        understood = {} if answer.understood is None else {"understood": answer.understood}
        head |= {"total": answer.total}
        return {**head, "request_id": found.request_id, "hits": list(answer.hits), **facets, **understood}
    if kind == "problem":
        return {"type": kind, "id": found.id, **_fields(found.problem)}
    if kind == "snapshot":
        problem = {"problem": _fields(found.problem)} if found.HasField("problem") else {}
        ids = {name: getattr(found, name) if found.HasField(name) else None for name in ("id", "pinned")}
        return {"type": kind, **ids, **problem}
    if kind == "hello":
        return {"type": kind, "window": found.window, "snapshot": found.snapshot, "limits": _fields(found.limits)}
    return {"type": kind, **_fields(found)}


def _fields(message: Any) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}


@asynccontextmanager
async def open_grpc(port: int, key: str | None = None) -> AsyncIterator[GrpcStreamClient]:
    """Open a stream to a server of this machine, and take no more of it than is read."""
    options = {"grpc.http2.lookahead_bytes": WINDOW, "grpc.http2.bdp_probe": 0, "grpc.max_receive_message_length": -1}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=tuple(options.items())) as channel:
        stub: Any = services.LookalikeServiceStub(channel)
        yield GrpcStreamClient(stub.Stream(metadata=() if key is None else (("authorization", f"Bearer {key}"),)))
