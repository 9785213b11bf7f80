"""One connection of graphql-transport-ws: whoever is known may subscribe, and is sent what happens.

The protocol is that of github.com/enisdenjo/graphql-ws. Only subscriptions are answered: queries have POST.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal

from starlette.types import Receive, Send
from strawberry.types.execution import PreExecutionError

from lookalike.serving.access.admission import AccessRequest
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.context import RequestContext, answering
from lookalike.serving.errors import ProblemError
from lookalike.serving.graphql.document import Question, read_request
from lookalike.serving.graphql.gateway import Gateway
from lookalike.serving.graphql.operation import Operation
from lookalike.serving.graphql.plan import make_plan
from lookalike.serving.graphql.problems import explain_failure, write_error
from lookalike.serving.query.request import parse_json
from lookalike.serving.replies import encode
from lookalike.serving.sockets import FIRST_BYTES, Connection
from lookalike.serving.stream.carrier import ClientGoneError
from lookalike.serving.stream.session import BYTES_PER_SECOND, KEY_SECONDS, PROOF_SECONDS
from lookalike.serving.stream.streams import Place, Streams
from lookalike.serving.telemetry.requests import measure_request

MESSAGE_BYTES = 128 * 2**10
"""Of a message: subscriptions have no pictures."""
MOST = 16
"""Subscriptions of one connection."""
MAX_ID = 128

_BAD, _EARLY, _FORBIDDEN, _SILENT, _TWICE, _SEVERAL = 4400, 4401, 4403, 4408, 4409, 4429  # the protocol's own
_GOING_AWAY, _FAILED, _TRY_LATER = 1001, 1011, 1013
_ACCESS = frozenset({"unauthorized", "forbidden"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Close:
    """How a connection ends: a reason as metrics have it, and what its client is told; no code where it is gone."""

    reason: Literal["left", "stopping", "slow_reader", "idle", "refused", "broken", "failed"]
    code: int | None = None
    text: str = ""


class _CloseError(Exception):
    def __init__(self, close: Close) -> None:
        super().__init__(close.text)
        self.close = close


class Socket:
    """A WebSocket that carries objects as JSON. Clients must take what they are sent, one message at a time."""

    def __init__(self, receive: Receive, send: Send, connection: Connection) -> None:
        self.stopping = connection.stopping
        self._receive = receive
        self._send = send
        self._connection = connection
        self._sending = asyncio.Lock()
        self.limit(FIRST_BYTES)

    def limit(self, size: int) -> None:
        """Let messages have so many bytes at most."""
        self._connection.limit_messages(size)

    async def receive(self) -> Mapping[str, Any]:
        """Return the next message."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise ClientGoneError
        try:
            found = parse_json((message.get("text") or "").encode())
        except (ProblemError, UnicodeEncodeError):
            found = None
        if not isinstance(found, dict):
            raise _CloseError(Close("broken", _BAD, "a message must be an object of JSON"))
        return found

    async def send(self, message: Mapping[str, Any], seconds: float) -> None:
        """Send a message; the client has so many seconds to take it, and more for a large one."""
        text = encode(message).decode()
        async with self._sending:
            try:
                async with asyncio.timeout(seconds + len(text) / BYTES_PER_SECOND):
                    await self._send({"type": "websocket.send", "text": text})
            except TimeoutError:
                raise _CloseError(Close("slow_reader")) from None
            except OSError as error:  # as ASGI has it where the client is gone
                raise ClientGoneError from error

    async def close(self, code: int, text: str) -> None:
        """Say goodbye."""
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": text})
        except OSError as error:
            raise ClientGoneError from error


class Subscriber:
    """Whoever is at the other end of a connection, and what they follow."""

    def __init__(
        self,
        gateway: Gateway,
        streams: Streams,
        access: AccessRequest,
        asked: RequestContext,
        socket: Socket,
        place: Place,
    ) -> None:
        self.socket = socket
        self._gateway = gateway
        self._streams = streams
        self._runtime = streams.runtime
        self._access = access
        self._asked = asked
        self._place = place
        self._proved_at = 0.0
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks = asyncio.TaskGroup()

    @property
    def needs_key(self) -> bool:
        """Whether a key must come with the first message: none came in a header."""
        return self._runtime.admission.required and not self._access.credentials

    async def prove(self) -> None:
        """Ask who this is, which counts as a request. Raises `ProblemError`."""
        await self._runtime.admission.admit(self._access, self._asked)
        self._place.give_to(self._asked.payer)
        self._proved_at = time.monotonic()

    async def run(self) -> Close:
        """Serve the connection until it ends."""
        close = Close("left")
        try:
            async with self._tasks:
                self._tasks.create_task(self._read())
                self._tasks.create_task(self._leave_before_stop())
        except* _CloseError as found:
            first = found.exceptions[0]
            close = first.close if isinstance(first, _CloseError) else close
        except* ClientGoneError:
            _log.debug("a subscriber left")
        except* Exception:  # noqa: BLE001 - whoever is there must know how it ended
            _log.exception("a connection of subscriptions failed")
            close = Close("failed", _FAILED, "internal")
        return close

    async def _leave_before_stop(self) -> None:
        await self._streams.stopping.wait()
        raise _CloseError(Close("stopping", _GOING_AWAY, "stopping"))

    async def _read(self) -> None:
        await self._begin()
        while True:
            await self._take(await self.socket.receive())

    async def _begin(self) -> None:
        """Wait for the first message, with the key where none came before."""
        try:
            async with asyncio.timeout(KEY_SECONDS):
                message = await self.socket.receive()
        except TimeoutError:
            raise _CloseError(Close("idle", _SILENT, "connection_init did not come in time")) from None
        if message.get("type") != "connection_init":
            raise _CloseError(Close("broken", _EARLY, "connection_init comes first"))
        if self.needs_key:
            self._access = replace(self._access, credentials=_find_key(message.get("payload")))
            await self._prove_or_close()
        self.socket.limit(MESSAGE_BYTES)
        await self._send({"type": "connection_ack"})

    async def _take(self, message: Mapping[str, Any]) -> None:
        kind = message.get("type")
        if kind == "subscribe":
            await self._subscribe(message)
        elif kind == "complete":
            task = self._running.pop(str(message.get("id")), None)
            if task is not None:
                task.cancel()
        elif kind == "ping":
            await self._send({"type": "pong"})
        elif kind == "connection_init":
            raise _CloseError(Close("broken", _SEVERAL, "connection_init came twice"))
        elif kind != "pong":
            raise _CloseError(Close("broken", _BAD, "send subscribe, complete, ping or pong"))

    async def _subscribe(self, message: Mapping[str, Any]) -> None:
        name, payload = message.get("id"), message.get("payload")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_ID or not isinstance(payload, dict):
            text = f"subscribe takes an id of 1 to {MAX_ID} letters and a payload"
            raise _CloseError(Close("broken", _BAD, text))
        if name in self._running:
            raise _CloseError(Close("broken", _TWICE, "this id is subscribed already"))
        if len(self._running) >= MOST:
            detail = f"There are {MOST} subscriptions over this connection already: end one."
            await self._send_error(name, ProblemError("too_many_streams", detail), self._asked.id)
            return
        self._running[name] = task = self._tasks.create_task(self._follow(name, payload))
        task.add_done_callback(lambda ended: self._forget(name, ended))

    def _forget(self, name: str, ended: asyncio.Task[None]) -> None:
        if self._running.get(name) is ended:  # else its id was given again
            del self._running[name]

    async def _follow(self, name: str, payload: Mapping[str, Any]) -> None:
        asked = RequestContext(gateway="graphql", address=self._asked.address, caller=self._asked.caller)
        try:
            question = self._check(payload, asked)
        except ProblemError as problem:
            self._measure(asked, ERROR_CODES[problem.code].status)
            await self._send_error(name, problem, asked.id)
            return
        self._measure(asked, 200)
        with answering(asked):
            await self._send_events(name, question, asked)
        await self._send({"type": "complete", "id": name})

    def _check(self, payload: Mapping[str, Any], asked: RequestContext) -> Question:
        """Return what is subscribed to. Raises `ProblemError`."""
        self._runtime.admission.charge(asked, 1)
        question = read_request(dict(payload), self._gateway.settings)
        if question.kind != "subscription":
            raise ProblemError("invalid_operation", "Only subscriptions are answered here: send queries by POST.")
        make_plan(self._gateway.rules, question, self._gateway.settings, self._runtime.settings.limits)
        return question

    async def _send_events(self, name: str, question: Question, asked: RequestContext) -> None:
        operation = question.operation.name
        source = await self._gateway.schema.subscribe(
            question.text,
            variable_values=dict(question.variables),
            context_value=Operation(self._runtime, asked, None),
            root_value=question.document,
            operation_name=None if operation is None else operation.value,
        )
        if isinstance(source, PreExecutionError):
            raise TypeError(f"a subscription that was checked is refused: {source.errors}")
        async with aclosing(source) as events:
            async for event in events:
                if time.monotonic() - self._proved_at > PROOF_SECONDS:
                    await self._prove_or_close()
                content: dict[str, Any] = {"data": event.data}
                if event.errors:
                    content["errors"] = [
                        write_error(explain_failure(error, asked.id), asked.id, error.path) for error in event.errors
                    ]
                await self._send({"type": "next", "id": name, "payload": content})

    async def _prove_or_close(self) -> None:
        try:
            await self.prove()
        except ProblemError as problem:
            code = _FORBIDDEN if problem.code in _ACCESS else _TRY_LATER
            raise _CloseError(Close("refused", code, problem.code)) from None

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self.socket.send(message, self._runtime.settings.stream.send_seconds)

    async def _send_error(self, name: str, problem: ProblemError, request_id: str) -> None:
        await self._send({"type": "error", "id": name, "payload": [write_error(problem, request_id)]})

    def _measure(self, asked: RequestContext, status: int) -> None:
        log = self._runtime.settings.access_log
        measure_request(self._runtime.metrics, asked, method="subscribe", route="subscription", status=status, log=log)


def _find_key(payload: object) -> tuple[str, ...]:
    """Return the key in a first message: as `key`, or as `authorization`, which many clients send."""
    if not isinstance(payload, dict):
        return ()
    given = {str(name).lower(): value for name, value in payload.items() if isinstance(value, str)}
    keys = (given.get("key"), given.get("authorization", "").removeprefix("Bearer ").strip())
    return tuple(key for key in keys if key)
