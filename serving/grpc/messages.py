"""Messages of a stream as Protocol Buffers: what clients send becomes `Incoming`, and `Outgoing` what they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from lookalike.serving.errors import ProblemError
from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.problems import write_problem
from lookalike.serving.grpc.replies import write_search
from lookalike.serving.grpc.requests import decode, read_fields, refuse_unknown
from lookalike.serving.stream.messages import (
    Ask,
    Cancel,
    Goaway,
    Hello,
    Hits,
    Incoming,
    Outgoing,
    Pin,
    Problem,
    Snapshot,
    Start,
    check_id,
    check_order,
    check_timeout,
)


def read_message(data: bytes) -> Incoming:
    """Return what a message says. Raises `ProblemError` for what nobody can answer, which ends the stream."""
    try:
        message = decode(pb.StreamRequest, data)
        kind = message.WhichOneof("message")
        if kind == "query":
            _refuse_unknown_here(message)
            return _read_query(message.query, len(data))
        refuse_unknown(message)
    except ProblemError as problem:
        raise ProblemError("bad_message", str(problem)) from None
    if kind == "start":
        return Start(None, check_order(message.start.order if message.start.HasField("order") else "ready"))
    if kind == "cancel":
        return Cancel(check_id(message.cancel.id))
    if kind == "pin":
        return Pin(message.pin.snapshot if message.pin.HasField("snapshot") else None)
    raise ProblemError("bad_message", "The message is empty: send start, query, cancel or pin.")


def _read_query(message: pb.StreamQuery, size: int) -> Ask:
    item, timeout = check_id(message.id), None
    fields: Mapping[str, Any] = {}
    fault = None
    try:
        refuse_unknown(message)
        timeout = check_timeout(message.timeout if message.HasField("timeout") else None)
        fields = read_fields(message.query)
    except ProblemError as problem:
        fault = problem
    return Ask(item, fields, timeout, size, fault)


def _refuse_unknown_here(message: Message) -> None:
    """Raise `ProblemError` for an unknown field of a message itself: those of a query are that query's fault."""
    if len(UnknownFieldSet(message)):
        raise ProblemError("bad_message", f"`{message.DESCRIPTOR.name}` has a field that this server does not know.")


def write_message(message: Outgoing, root: str) -> pb.StreamResponse:
    """Return a message as it is sent; `root` is the path below which the HTTP server is."""
    if isinstance(message, Hits):
        answer = write_search(message.query, message.answer, message.asked, root)
        return pb.StreamResponse(hits=pb.StreamHits(id=str(message.id), answer=answer, request_id=message.asked.id))
    if isinstance(message, Problem):
        problem = write_problem(message.problem, message.request_id)
        return pb.StreamResponse(problem=pb.StreamProblem(id=str(message.id), problem=problem))
    if isinstance(message, Snapshot):
        return pb.StreamResponse(snapshot=_write_snapshot(message))
    if isinstance(message, Goaway):
        return pb.StreamResponse(goaway=pb.StreamGoaway(finish_within=message.finish_within))
    return pb.StreamResponse(hello=_write_hello(message))


def _write_hello(message: Hello) -> pb.StreamHello:
    limits = pb.StreamLimits(
        message_bytes=message.limits.message_bytes,
        request_seconds=message.limits.request_seconds,
        idle_seconds=message.limits.idle_seconds,
    )
    return pb.StreamHello(window=message.window, snapshot=message.snapshot, limits=limits)


def _write_snapshot(message: Snapshot) -> pb.StreamSnapshot:
    written = pb.StreamSnapshot(id=message.id, pinned=message.pinned)
    if message.problem is not None:
        written.problem.CopyFrom(write_problem(message.problem.problem, message.problem.request_id))
    return written
