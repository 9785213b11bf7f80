"""Admission: is it here, who asks, has the caller rate, may the caller, and until when? The same for every gateway.

Nothing of a request's body is read for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from lookalike.serving.access.audit import Audit
from lookalike.serving.access.authenticator import Authenticator
from lookalike.serving.access.policy import Operation, Policy
from lookalike.serving.access.rates import RateLimits
from lookalike.serving.access.refusals import RefusedError, missing_scope
from lookalike.serving.context import AccessScope, Caller, RequestContext, anonymous
from lookalike.serving.errors import ProblemError
from lookalike.serving.telemetry.metrics import Metrics

_AUDITED = {"unauthorized", "forbidden"}


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """What admission decides about.

    Attributes:
        operation: what is asked for.
        credentials: every key or token that was sent; more than one is refused.
        address: the network address of the caller.
        is_local: whether a program on this machine asks for itself: no proxy passed it on, no web page sent it.
        port: the port that the request came to.
        cost: how many requests it counts as, where rates are limited.
        method, path: how it was asked, for the audit log.
    """

    operation: Operation
    credentials: tuple[str, ...] = ()
    address: str = "unknown"
    is_local: bool = False
    port: int | None = None
    cost: int = 1
    method: str = ""
    path: str = ""


class Admission:
    """Lets requests in, or says why not; counts and audits those that it refuses."""

    def __init__(
        self,
        policy: Policy,
        authenticator: Authenticator,
        rates: RateLimits,
        audit: Audit,
        metrics: Metrics,
        *,
        seconds: float,
    ) -> None:
        """`seconds` is how long an admitted request may take."""
        self.policy = policy
        self._authenticator = authenticator
        self._rates = rates
        self._audit = audit
        self._metrics = metrics
        self._seconds = seconds

    @property
    def required(self) -> bool:
        """Whether callers must prove who they are."""
        return self._authenticator.required

    async def admit(self, asked: AccessRequest, request: RequestContext | None = None) -> RequestContext:
        """Return the request with its caller, address and deadline. Raises `ProblemError`, mostly `RefusedError`."""
        request = RequestContext() if request is None else request
        request.address = asked.address
        try:
            request.caller = await self._decide(asked)
        except RefusedError as refusal:
            self._metrics.refused.labels(refusal.reason).inc()
            if refusal.code in _AUDITED:
                self._audit.refuse(request, refusal, method=asked.method, path=asked.path)
            raise
        request.deadline = time.monotonic() + self._seconds
        return request

    def charge(self, request: RequestContext, cost: int) -> None:
        """Count what an admitted request turns out to cost beyond what was counted. Raises `RefusedError`."""
        if cost < 1:
            return
        try:
            self._rates.check(request.caller, request.address, cost)
        except RefusedError as refusal:
            self._metrics.refused.labels(refusal.reason).inc()
            raise

    async def _decide(self, asked: AccessRequest) -> Caller:
        if not self.policy.is_answered_at(asked.port, asked.operation):
            raise ProblemError("not_found", "There is nothing here: administration has a port of its own.")
        if asked.operation is Operation.PROBE:
            return anonymous()
        needed = self.policy.needed_scope(asked.operation)
        try:
            caller = await self._identify(asked, needed)
        except RefusedError:
            self._rates.check(None, asked.address, asked.cost)
            raise
        self._rates.check(caller, asked.address, asked.cost)
        if needed is not None and needed not in caller.scopes:
            raise missing_scope(needed, caller.id) if self.required else _not_local()
        return caller

    async def _identify(self, asked: AccessRequest, needed: AccessScope | None) -> Caller:
        if not self.required:
            return anonymous(AccessScope.SEARCH, *([AccessScope.ADMIN] if asked.is_local else []))
        if needed is None:
            return anonymous()
        return await self._authenticator.identify(asked.credentials)


def _not_local() -> RefusedError:
    detail = "Without API keys, administration is for programs on the server's own machine: set up keys for all others."
    return RefusedError("forbidden", detail, reason="not_local")
