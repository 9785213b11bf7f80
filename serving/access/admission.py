"""Admission: is it here, who asks, has the caller rate, may the caller, and until when? The same for every gateway.

Nothing of a request's body is read for it. The policy says which operation takes which scope: what it does not name
takes `search`, so nothing new is open.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum

from lookalike.serving.access.audit import Audit
from lookalike.serving.access.authenticator import Authenticator
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


class Operation(StrEnum):
    """What a caller may ask of a server. A gateway calls everything `SEARCH` that it has no other name for."""

    PROBE = "probe"
    """Is the server alive, is it ready? Answered to everybody, and never counted."""
    PAGE = "page"
    """Pages and documentation: the same for everybody."""
    METRICS = "metrics"
    ADMIN = "admin"
    SEARCH = "search"


_OPEN = frozenset({Operation.PROBE, Operation.PAGE})
_OPERATORS = frozenset({Operation.METRICS, Operation.ADMIN})


class Policy:
    """Which operation takes which scope, and which port answers it."""

    def __init__(self, *, required: bool, admin_port: int | None = None, open_metrics: bool = False) -> None:
        """`required` says whether callers must prove who they are at all."""
        self._required = required
        self._admin_port = admin_port
        self._open_metrics = open_metrics or not required or admin_port is not None

    def needed_scope(self, operation: Operation) -> AccessScope | None:
        """Return the scope that an operation takes; None where it is open to all."""
        if operation in _OPEN or (operation is Operation.METRICS and self._open_metrics):
            return None
        return AccessScope.ADMIN if operation in _OPERATORS else AccessScope.SEARCH

    def is_answered_at(self, port: int | None, operation: Operation) -> bool:
        """Tell whether a port answers an operation; without a port for administration, every one answers all."""
        if self._admin_port is None or operation is Operation.PROBE:
            return True
        return (operation in _OPERATORS) == self._is_admin_port(port)

    def tells_all(self, port: int | None) -> bool:
        """Tell whether a probe may say what only operators should know, such as where the store is."""
        return not self._required or self._is_admin_port(port)

    def _is_admin_port(self, port: int | None) -> bool:
        return self._admin_port is not None and port == self._admin_port
