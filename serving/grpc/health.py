"""Health: `grpc.health.v1`, which says what `/readyz` says. It is open to all, as that is."""

from __future__ import annotations

import asyncio

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2 as health

from lookalike.serving.access.admission import Operation
from lookalike.serving.context import RequestContext
from lookalike.serving.errors import ProblemError
from lookalike.serving.grpc.callers import Context
from lookalike.serving.grpc.calls import Calls, Messages, unread_problem
from lookalike.serving.grpc.methods import SERVICE, Method
from lookalike.serving.runtime import Runtime

NAME = "grpc.health.v1.Health"
CHECK, WATCH = f"/{NAME}/Check", f"/{NAME}/Watch"
LOOK_SECONDS = 0.5
MAX_QUESTION = 1024
SHARE_OF_WATCHES = 4
"""Watches take one in so many places of calls at most: they last, and take no key."""

_SERVICES = frozenset({"", SERVICE, NAME})


class Health:
    """Answers checks, and tells those who watch of each change."""

    def __init__(self, runtime: Runtime, *, watches: int) -> None:
        self._runtime = runtime
        self._watches = watches
        self._count = 0
        self.is_stopping = False

    @property
    def status(self) -> int:
        """Whether queries are answered."""
        is_ready = not self.is_stopping and self._runtime.readiness.state()[0]
        return int(health.HealthCheckResponse.SERVING if is_ready else health.HealthCheckResponse.NOT_SERVING)

    def handlers(self, calls: Calls) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """Return what gRPC calls for each method."""
        check = Method(CHECK, self._check, Operation.PROBE)

        async def watch(messages: Messages, context: Context) -> None:
            async def work(request: RequestContext) -> None:
                await calls.admit(Method(WATCH, self._check, Operation.PROBE), context, request)
                try:
                    async with asyncio.timeout_at(request.deadline) as timeout:
                        data = await calls.read(messages, request, timeout)
                except TimeoutError:
                    raise unread_problem() from None
                await self._watch(data, context)

            await calls.run(context, WATCH, work)

        return {CHECK: calls.handler(check), WATCH: grpc.stream_stream_rpc_method_handler(watch)}

    async def _check(self, _: Runtime, __: RequestContext, data: bytes) -> bytes:
        if _read_service(data) not in _SERVICES:
            raise ProblemError("not_found", f"There is no such service here; there is {SERVICE}.")
        return _write_status(self.status)

    async def _watch(self, data: bytes, context: Context) -> None:
        if self._count >= self._watches:
            detail = f"There are {self._count} watches already: end one, or ask with Check."
            raise ProblemError("too_many_streams", detail, retry_after=5)
        is_known, told = _read_service(data) in _SERVICES, None
        self._count += 1
        try:
            while True:
                now = self.status if is_known else health.HealthCheckResponse.SERVICE_UNKNOWN
                if now != told:
                    await context.write(_write_status(now))
                    told = now
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._count -= 1


def _write_status(status: int) -> bytes:
    return bytes(health.HealthCheckResponse(status=status).SerializeToString())


def _read_service(data: bytes) -> str:
    try:
        if len(data) <= MAX_QUESTION:
            return str(health.HealthCheckRequest.FromString(data).service)
    except DecodeError as error:
        raise ProblemError("bad_field", "This is no HealthCheckRequest that can be read.") from error
    raise ProblemError("body_too_large", f"The name of a service has {MAX_QUESTION} bytes at most.")
