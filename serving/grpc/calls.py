"""Calls: who may call is decided before anything of a call's message is read.

Each method takes a stream on this side, though it has one message: only then does gRPC read no message before it is
asked to. Bytes are bytes here, so that a message that cannot be read ends with our code. A reply is returned and not
written, so that gRPC sends it together with the end of the call; how long its client takes for it is not seen here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc

from lookalike.data.errors import LookalikeError
from lookalike.data.spans import root_span
from lookalike.serving.budget import Share
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.context import RequestContext, answering
from lookalike.serving.errors import ProblemError, as_problem, overload_problem
from lookalike.serving.grpc.arrivals import Arrivals
from lookalike.serving.grpc.callers import REQUEST_ID, Callers, Context
from lookalike.serving.grpc.methods import Method
from lookalike.serving.grpc.problems import DETAILS, STATUS, write_status
from lookalike.serving.grpc.reading import Reading
from lookalike.serving.runtime import Runtime
from lookalike.serving.telemetry.requests import measure_request

METHOD = "call"
"""What metrics call the method of a call."""
CLIENT_GONE = 499
SMALL_REPLY = 64 * 2**10
"""Bytes up to which a reply is sent even where there is no room: the bound on calls bounds them."""

_log = logging.getLogger(__name__)

Messages = AsyncIterator[bytes]
T = TypeVar("T")


class Calls:
    """Answers calls with one message each way."""

    def __init__(self, runtime: Runtime, callers: Callers, arrivals: Arrivals, *, most: int) -> None:
        """`most` is how many calls may be under way."""
        limits = runtime.settings.limits
        self._runtime = runtime
        self._callers = callers
        self._arrivals = arrivals
        self._most = most
        self._count = 0
        self._reading = Reading(max(2, limits.bodies_bytes // limits.max_body_bytes), runtime.metrics.shed.inc)

    def handler(self, method: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return what gRPC calls for a method."""

        async def answer(messages: Messages, context: Context) -> bytes:
            async def work(request: RequestContext) -> bytes:
                return await self._answer(method, messages, context, request)

            with root_span(method.name.removeprefix("/"), self._callers.find_trace(context)):
                return await self.run(context, method.name, work)

        return grpc.stream_unary_rpc_method_handler(answer)

    async def run(self, context: Context, route: str, work: Callable[[RequestContext], Awaitable[T]]) -> T:
        """Run what answers a call: it is measured, and what goes wrong ends it as a status with details."""
        request = RequestContext(gateway="grpc")
        request.reply = reply = Share(self._runtime.replies, lambda: request.payer)
        # when gRPC has let go of it; the stubs take a class that is not there
        context.add_done_callback(lambda _: reply.close())  # type: ignore[arg-type]
        status = CLIENT_GONE
        try:
            with answering(request):
                found = await self._try(work, request)
                context.set_trailing_metadata(((REQUEST_ID, request.id),))
                if isinstance(found, ProblemError):
                    status = ERROR_CODES[found.code].status
                    await abort(context, found, request.id)
                    raise found
                status = 200
                return found
        finally:
            log = self._runtime.settings.access_log
            measure_request(self._runtime.metrics, request, method=METHOD, route=route, status=status, log=log)

    async def _try(self, work: Callable[[RequestContext], Awaitable[T]], request: RequestContext) -> T | ProblemError:
        try:
            with self._take_place():
                return await work(request)
        except LookalikeError as error:
            problem = as_problem(error)
            if problem.code == "internal":
                _log.error("request %s failed: %s", request.id, error, exc_info=error)
            return problem
        except Exception:  # noqa: BLE001 - nothing of it may reach the caller
            _log.exception("request %s failed", request.id)
            detail = "The server failed to answer. Try again, and tell its operator this request id."
            return ProblemError("internal", detail)

    @contextmanager
    def _take_place(self) -> Iterator[None]:
        if self._count >= self._most:
            self._runtime.metrics.shed.inc()
            raise overload_problem(1.0)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    async def _answer(self, method: Method, messages: Messages, context: Context, request: RequestContext) -> bytes:
        seconds = _find_seconds(context, self._runtime.settings.limits.request_seconds)
        request.deadline = request.started + seconds
        is_read = False
        with self._runtime.bodies.share(lambda: request.payer) as body:
            try:
                async with asyncio.timeout_at(request.deadline) as timeout:
                    await self.admit(method, context, request)
                    data = await self.read(messages, request, timeout)
                    is_read = True
                    body.add(len(data))
                    if self._arrivals:
                        self._arrivals.note(context.peer(), len(data))
                    reply = await method.answer(self._runtime, request, data)
            except TimeoutError:
                if not is_read:
                    raise unread_problem() from None
                detail = f"There was no answer within {seconds:.3g} seconds: try again later."
                raise ProblemError("deadline_exceeded", detail, retry_after=1) from None
        if request.reply is not None:
            if len(reply) > SMALL_REPLY:
                request.reply.raise_to(len(reply))
            request.reply.hold(len(reply))
        return reply

    async def admit(self, method: Method, context: Context, request: RequestContext) -> None:
        """Find out who calls, and whether they may. Raises `ProblemError`."""
        access, given = self._callers.describe(context, method.name, method.operation)
        request.id = given or request.id
        deadline = request.deadline
        await self._runtime.admission.admit(access, request)
        request.deadline = min(request.deadline, deadline)

    async def read(self, messages: Messages, request: RequestContext, under: asyncio.Timeout) -> bytes:
        """Return a call's one message; `under` is what ends it. Raises `ProblemError`."""
        reader = await self._reading.enter(request.payer, under)
        try:
            data = await anext(messages, None)
        finally:
            self._reading.leave(reader)
        if data is None:
            raise ProblemError("bad_request", "The call has no message, or one that is too large: send one message.")
        limit = self._runtime.settings.limits.max_body_bytes
        if len(data) > limit:
            raise ProblemError("body_too_large", f"The message has more than {limit:,} bytes: send a smaller picture.")
        return data


def unread_problem() -> ProblemError:
    """Return the problem of a message that did not come in time, or whose sender had to give way."""
    detail = "The message did not arrive in time: send a smaller picture, or try again."
    return ProblemError("request_timeout", detail, retry_after=1)


def _find_seconds(context: Context, most: float) -> float:
    """Return how long the answer may take: the caller's deadline, at most the server's."""
    left: float | None = context.time_remaining()
    return most if left is None else min(left, most)


async def abort(context: Context, problem: ProblemError, request_id: str) -> None:
    """End a call with a problem. It returns when the client has taken all that was sent before, or is gone."""
    status = write_status(problem, request_id)
    trailing = ((REQUEST_ID, request_id), (DETAILS, status.SerializeToString()))
    await context.abort(STATUS[status.code], status.message, trailing)
