"""The method `Stream`: a call that lasts, as the carrier of a stream."""

from __future__ import annotations

from typing import Any

import grpc

from lookalike.serving.access.admission import Operation
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.context import RequestContext
from lookalike.serving.errors import ProblemError
from lookalike.serving.grpc.arrivals import Arrivals, Arriving
from lookalike.serving.grpc.callers import REQUEST_ID, Callers, Context
from lookalike.serving.grpc.calls import METHOD, Messages, abort
from lookalike.serving.grpc.messages import read_message, write_message
from lookalike.serving.grpc.methods import SERVICE
from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.requests import read_beside
from lookalike.serving.stream.carrier import ClientGoneError, Encoded
from lookalike.serving.stream.messages import Ask, End, Incoming, Outgoing, Problem
from lookalike.serving.stream.session import Session
from lookalike.serving.stream.streams import Streams, stopping_problem
from lookalike.serving.telemetry.requests import measure_request

NAME = f"/{SERVICE}/Stream"


class GrpcCarrier:
    """A call as the carrier of a stream. A problem that ends the stream is the call's status, and no message."""

    def __init__(self, messages: Messages, context: Context, arriving: Arriving, *, root: str, max_bytes: int) -> None:
        self.is_open = False
        """Whether anything was sent: until then a refusal is that of the call."""
        self.unread = 0
        """Bytes of a message that the client has not taken."""
        self._messages = messages
        self._context = context
        self._arriving = arriving
        self._root = root
        self._max_bytes = max_bytes

    async def receive(self) -> Incoming | None:
        """Return the next message; None where the client has sent its last one."""
        data = await self._arriving.take(anext(self._messages, None))
        if data is None:
            return None
        found = await read_beside(pb.StreamRequest, data, lambda: read_message(data))
        if isinstance(found, Ask) and len(data) > self._max_bytes:
            detail = f"The query has more than {self._max_bytes:,} bytes: send smaller pictures."
            return Ask(found.id, {}, found.timeout, fault=ProblemError("body_too_large", detail))
        return found

    def encode(self, message: Outgoing) -> Encoded[bytes | Problem]:
        """Return a message as bytes."""
        if isinstance(message, Problem) and message.id is None:
            return Encoded(message, 0)
        data = write_message(message, self._root).SerializeToString()
        return Encoded(data, len(data))

    async def send(self, content: bytes | Problem) -> None:
        """Send a message."""
        if isinstance(content, Problem):
            return
        self.is_open, self.unread = True, len(content)
        try:
            await self._context.write(content)
        except grpc.aio.BaseError as error:  # as gRPC has it where the call has ended
            raise ClientGoneError from error
        self.unread = 0


class StreamCalls:
    """Answers calls of `Stream`."""

    def __init__(self, streams: Streams, callers: Callers, arrivals: Arrivals) -> None:
        self._streams = streams
        self._runtime = streams.runtime
        self._callers = callers
        self._arrivals = arrivals

    def handler(self) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return what gRPC calls."""
        return grpc.stream_stream_rpc_method_handler(self._serve)

    async def _serve(self, messages: Messages, context: Context) -> None:
        access, given = self._callers.describe(context, NAME, Operation.SEARCH)
        opened = RequestContext(gateway="grpc", address=access.address)
        settings = self._runtime.settings
        with (
            self._runtime.bodies.share(lambda: session.payer) as coming,
            self._arrivals.watch(context.peer(), coming) as arriving,
        ):
            carrier = GrpcCarrier(
                *(messages, context, arriving), root=settings.root_path, max_bytes=settings.limits.max_body_bytes
            )
            session = Session(
                *(self._streams, carrier, access),
                gateway="grpc",
                route=NAME,
                waits_for_key=False,  # any client of gRPC can send it as metadata
                seconds=settings.grpc.connection_age_seconds,
                request_id=given,
            )
            end = await session.run()
        if not carrier.is_open and end.problem is not None:
            self._measure(opened, ERROR_CODES[end.problem.code].status)
        await self._close(carrier, context, end, session)

    async def _close(self, carrier: GrpcCarrier, context: Context, end: End, session: Session[Any]) -> None:
        """End the call as its stream ended. What its client has not read counts until the client is gone."""
        context.set_trailing_metadata(((REQUEST_ID, session.id),))
        problem = stopping_problem() if end.reason == "stopping" else end.problem
        with self._runtime.replies.share(lambda: session.payer) as share:
            share.hold(carrier.unread)
            if problem is not None:
                await abort(context, problem, session.id)

    def _measure(self, request: RequestContext, status: int) -> None:
        log = self._runtime.settings.access_log
        measure_request(self._runtime.metrics, request, method=METHOD, route=NAME, status=status, log=log)
