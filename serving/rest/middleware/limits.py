"""Limits: no body is larger than it may be, and nothing takes longer than it may, or goes on for a caller who left.

What requests hold in memory together is bounded, too: their bodies, and their replies until they are sent.
"""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike.serving.asgi import find_header
from lookalike.serving.budget import Budget, Share
from lookalike.serving.errors import ProblemError
from lookalike.serving.rest.problems import HttpProblemError, respond
from lookalike.serving.rest.requests import request_context

DRAINED_BYTES = 64 * 2**20
"""A body declared up to this size may be sent to its end after the answer: many clients only read then.

The server throws it away as it comes. Beyond, the connection is closed.
"""

SMALL_REPLY = 64 * 2**10
"""Bytes up to which a reply is not counted: the bound on connections bounds them."""


class BodyLimit:
    """Refuses a body that is declared too large at once, and any other as soon as it grows too large."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = find_header(scope, b"content-length")
        if declared is not None and declared.isdecimal() and int(declared) > self._max_bytes:
            await respond(scope, self._problem(close=int(declared) > DRAINED_BYTES))(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._problem(close=True)
            return message

        return counted

    def _problem(self, *, close: bool) -> HttpProblemError:
        detail = f"The body has more than {self._max_bytes:,} bytes: send a smaller picture."
        return HttpProblemError("body_too_large", detail, close=close)


class UnderWay:
    """Counts the bytes of a request's body and reply against the budgets, until the reply is sent."""

    def __init__(self, app: ASGIApp, *, bodies: Budget, replies: Budget) -> None:
        self._app = app
        self._bodies = bodies
        self._replies = replies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = request_context(scope)

        def caller() -> str:
            return request.payer

        with self._bodies.share(caller) as body, self._replies.share(caller) as request.reply:
            reply = _Reply(scope, receive, send, request.reply)
            await self._app(scope, _charged(receive, body), reply.send)


def _charged(receive: Receive, share: Share) -> Receive:
    async def charged() -> Message:
        message = await receive()
        if part := message.get("body"):
            try:
                share.add(len(part))
            except ProblemError as problem:
                raise HttpProblemError(problem.code, str(problem), retry_after=1, close=True) from problem
        return message

    return charged


class _Reply:
    """Holds back the head of a reply until its first bytes have their share: without one, a problem is sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, share: Share) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._share = share
        self._head: Message | None = None
        self._is_refused = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._head = message
            return
        if self._head is not None:
            head, self._head = self._head, None
            try:
                self._take(message)
            except ProblemError as problem:
                self._is_refused = True
                await respond(self._scope, problem)(self._scope, self._receive, self._send)
                return
            await self._send(head)
        if not self._is_refused:
            await self._send(message)

    def _take(self, message: Message) -> None:
        size = len(message.get("body", b""))
        if size > SMALL_REPLY:
            self._share.raise_to(size)


class Deadline:
    """Ends a request that has not begun to answer in time, and one whose caller hung up."""

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = request_context(scope)
        request.deadline = min(request.deadline, time.monotonic() + self._seconds)
        exchange = _Exchange(receive, send)
        try:
            async with asyncio.timeout(request.deadline - time.monotonic()) as exchange.timeout:
                await self._run(scope, exchange)
        except TimeoutError:
            if exchange.timeout is None or not exchange.timeout.expired():
                raise
            await respond(scope, self._problem(exchange))(scope, receive, send)

    async def _run(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if not exchange.abandoned:
                raise
            exchange.task.uncancel()  # it was our own watch: there is nobody to answer
        finally:
            exchange.close()

    def _problem(self, exchange: _Exchange) -> ProblemError:
        if exchange.body_complete or not exchange.body_wanted:
            detail = f"There was no answer within {self._seconds:g} seconds: try again later."
            return ProblemError("deadline_exceeded", detail, retry_after=1)
        detail = f"The body did not arrive within {self._seconds:g} seconds: send a smaller picture, or try again."
        return HttpProblemError("request_timeout", detail, close=True)


class _Exchange:
    """One request's messages, watched for the caller's leaving once its body is complete."""

    def __init__(self, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - ASGI applications run in tasks
        self.task = task
        self.timeout: asyncio.Timeout | None = None
        self.body_wanted = False
        self.body_complete = False
        self.abandoned = False
        self._answering = False
        self._receive = receive
        self._send = send
        self._watch: asyncio.Task[Message] | None = None
        self._watch_later: asyncio.Handle | None = None

    async def receive(self) -> Message:
        if self.body_complete:
            return await asyncio.shield(self._begin_watch())
        self.body_wanted = True
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self.body_complete = True
            # only where the answer waits for something: a task for each request costs as much as reading its body
            self._watch_later = asyncio.get_running_loop().call_soon(self._begin_watch)
        return message

    async def send(self, message: Message) -> None:
        if not self._answering:
            self._answering = True
            self._forget_watch()
            if self.timeout is not None:
                self.timeout.reschedule(None)  # a slow reader of a large picture is no slow answer
        await self._send(message)

    def close(self) -> None:
        self._forget_watch()
        if self._watch is not None:
            self._watch.cancel()

    def _begin_watch(self) -> asyncio.Task[Message]:
        if self._watch is None:
            self._watch = asyncio.ensure_future(self._wait_for_leaving())
        return self._watch

    def _forget_watch(self) -> None:
        if self._watch_later is not None:
            self._watch_later.cancel()

    async def _wait_for_leaving(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._answering:
            self.abandoned = True
            self.task.cancel()
        return message
