"""The gate: an ASGI layer that lets a request in, or refuses it before anything of its body is read."""

from __future__ import annotations

import ipaddress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lookalike.serving.access.audit import Audit, client_address
from lookalike.serving.access.authenticator import Authenticator
from lookalike.serving.access.policy import PROBES, Policy, route_path
from lookalike.serving.access.rates import RateLimits
from lookalike.serving.access.refusals import RefusedError, missing_scope
from lookalike.serving.context import AccessScope, Caller, anonymous, context
from lookalike.serving.errors import ProblemError
from lookalike.serving.rest.problems import respond
from lookalike.serving.telemetry.metrics import Metrics

_PASSED_ON = ("forwarded", "x-forwarded-for", "x-real-ip", "origin")
_AUDITED = {"unauthorized", "forbidden"}


class Gate:
    """Who is it, how often do they ask, and may they? In this order."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        policy: Policy,
        authenticator: Authenticator,
        rates: RateLimits,
        audit: Audit,
        metrics: Metrics,
        max_body_bytes: int,
    ) -> None:
        self._app = app
        self._policy = policy
        self._authenticator = authenticator
        self._rates = rates
        self._audit = audit
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or open one WebSocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            context(scope).caller = await self._admit(scope)
        except ProblemError as problem:
            self._count(scope, problem)
            await self._refuse(scope, problem, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> Caller:
        path = route_path(scope)
        if not self._policy.is_here(scope):
            raise ProblemError("not_found", "There is nothing here: administration has a port of its own.")
        needed = self._policy.needed(path)
        if needed is None and self._authenticator.required and self._too_much_to_drain(Headers(scope=scope)):
            raise ProblemError("body_too_large", "This address takes no body: send none.")
        if path in PROBES:
            return anonymous()
        try:
            caller = await self._identify(scope, needed)
        except RefusedError:
            self._rates.check(None, client_address(scope))
            raise
        self._rates.check(caller, client_address(scope))
        if needed is not None and needed not in caller.scopes:
            raise missing_scope(needed, caller.id) if self._authenticator.required else _not_local()
        return caller

    async def _identify(self, scope: Scope, needed: AccessScope | None) -> Caller:
        if not self._authenticator.required:
            return anonymous(*([AccessScope.SEARCH, AccessScope.ADMIN] if is_local(scope) else [AccessScope.SEARCH]))
        if needed is None:
            return anonymous()
        return await self._authenticator.identify(Headers(scope=scope))

    def _count(self, scope: Scope, problem: ProblemError) -> None:
        if isinstance(problem, RefusedError):
            self._metrics.refused.labels(problem.reason).inc()
            if problem.code in _AUDITED:
                self._audit.refused(scope, problem)

    async def _refuse(self, scope: Scope, problem: ProblemError, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": problem.code})
            return
        if self._too_much_to_drain(Headers(scope=scope)):
            problem.headers["connection"] = "close"
        await respond(scope, problem)(scope, receive, send)

    def _too_much_to_drain(self, headers: Headers) -> bool:
        """Many clients read only when they have sent all: what an admitted caller may send, they may waste."""
        declared = headers.get("content-length")
        if declared is None:
            return "transfer-encoding" in headers
        return not declared.isdecimal() or int(declared) > self._max_body_bytes


def is_local(scope: Scope) -> bool:
    """Tell whether a program on this machine asks for itself: no proxy passed it on, no web page sent it."""
    headers = Headers(scope=scope)
    if any(name in headers for name in _PASSED_ON):
        return False
    try:
        return ipaddress.ip_address(client_address(scope)).is_loopback
    except ValueError:
        return False


def _not_local() -> RefusedError:
    detail = "Without API keys, administration is for programs on the server's own machine: set up keys for all others."
    return RefusedError("forbidden", detail, reason="not_local")
