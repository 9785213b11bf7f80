"""The audit log: one JSON line for each admin act and each refused authentication."""

from __future__ import annotations

import logging

from starlette.types import Scope

from lookalike.serving.access.policy import route_path
from lookalike.serving.access.rates import Bucket
from lookalike.serving.access.refusals import RefusedError
from lookalike.serving.context import Caller, context
from lookalike.serving.telemetry.logs import AUDIT
from lookalike.serving.telemetry.metrics import Metrics

REFUSALS_PER_MINUTE = 600
REFUSALS_AT_ONCE = 100
LONGEST_PATH = 200

_log = logging.getLogger(AUDIT)


class Audit:
    """Writes who did what, from where, and how it ended. Refusals are bounded, so that nobody can fill a disk."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._bucket = Bucket(REFUSALS_PER_MINUTE, REFUSALS_AT_ONCE)
        self._suppressed = 0

    def act(self, scope: Scope, caller: Caller, action: str, result: str) -> None:
        """Note an admin act."""
        self._write(scope, action, result, who=caller.id, kind=caller.kind, name=caller.name)

    def refused(self, scope: Scope, refusal: RefusedError) -> None:
        """Note a refusal, unless too many were noted lately; the next line says how many were not."""
        if self._bucket.take("refusals"):
            self._suppressed += 1
            self._metrics.audit_suppressed.inc()
            return
        more = {"suppressed_before": self._suppressed} if self._suppressed else {}
        self._suppressed = 0
        asked = {"method": scope.get("method", scope["type"])[:16], "path": route_path(scope)[:LONGEST_PATH]}
        self._write(scope, "authenticate", "refused", who=refusal.claimed, reason=refusal.reason, **asked, **more)

    def _write(self, scope: Scope, action: str, result: str, **more: str | int) -> None:
        fields = {"action": action, "result": result, "from": client_address(scope), **more}
        _log.info("audit", extra={"fields": {**fields, "request_id": context(scope).id}})


def client_address(scope: Scope) -> str:
    """Return the address that a request came from: what uvicorn saw, or what a trusted proxy told it."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"
