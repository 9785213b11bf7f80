"""The gate: an ASGI layer that lets a request in, or refuses it before anything of its body is read."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from lookalike.serving.access.admission import AccessRequest, Admission
from lookalike.serving.asgi import find_header
from lookalike.serving.errors import ProblemError
from lookalike.serving.rest.problems import respond
from lookalike.serving.rest.requests import access_request, request_context


class Gate:
    """Lets admission decide, and says its answer in HTTP, or to a WebSocket."""

    def __init__(self, app: ASGIApp, *, admission: Admission, max_body_bytes: int) -> None:
        self._app = app
        self._admission = admission
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or open one WebSocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            asked = access_request(scope)
            self._check_body(scope, asked)
            await self._admission.admit(asked, request_context(scope))
        except ProblemError as problem:
            await self._refuse(scope, problem, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check_body(self, scope: Scope, asked: AccessRequest) -> None:
        """Let nobody who needs no key keep the server busy with a body."""
        policy = self._admission.policy
        is_open = policy.needed_scope(asked.operation) is None and policy.is_answered_at(asked.port, asked.operation)
        if is_open and self._admission.required and self._is_too_much_to_drain(scope):
            raise ProblemError("body_too_large", "This address takes no body: send none.")

    async def _refuse(self, scope: Scope, problem: ProblemError, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": problem.code})
            return
        await respond(scope, problem, close=self._is_too_much_to_drain(scope))(scope, receive, send)

    def _is_too_much_to_drain(self, scope: Scope) -> bool:
        """Many clients read only when they have sent all: what an admitted caller may send, they may waste."""
        declared = find_header(scope, b"content-length")
        if declared is None:
            return any(name == b"transfer-encoding" for name, _ in scope["headers"])
        return not declared.isdecimal() or int(declared) > self._max_body_bytes
