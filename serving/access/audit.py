"""The audit log: one JSON line for each admin act and each refused authentication."""

from __future__ import annotations

import logging

from lookalike.serving.access.rates import Bucket
from lookalike.serving.access.refusals import RefusedError
from lookalike.serving.context import RequestContext
from lookalike.serving.telemetry import AUDIT
from lookalike.serving.telemetry.metrics import Metrics

REFUSALS_PER_MINUTE = 600
REFUSALS_AT_ONCE = 100
LONGEST_METHOD = 16
LONGEST_PATH = 200

_log = logging.getLogger(AUDIT)


class Audit:
    """Writes who did what, from where, and how it ended. Refusals are bounded, so that nobody can fill a disk."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._bucket = Bucket(REFUSALS_PER_MINUTE, REFUSALS_AT_ONCE)
        self._suppressed = 0

    def act(self, request: RequestContext, action: str, result: str) -> None:
        """Note an admin act of the request's caller."""
        caller = request.caller
        self._write(request, action, result, who=caller.id, kind=caller.kind, name=caller.name)

    def refuse(self, request: RequestContext, refusal: RefusedError, *, method: str, path: str) -> None:
        """Note a refusal, unless too many were noted lately; the next line says how many were not."""
        if self._bucket.take("refusals"):
            self._suppressed += 1
            self._metrics.audit_suppressed.inc()
            return
        more = {"suppressed_before": self._suppressed} if self._suppressed else {}
        self._suppressed = 0
        asked = {"method": method[:LONGEST_METHOD], "path": path[:LONGEST_PATH]}
        self._write(request, "authenticate", "refused", who=refusal.claimed, reason=refusal.reason, **asked, **more)

    def _write(self, request: RequestContext, action: str, result: str, **more: str | int) -> None:
        fields = {"action": action, "result": result, "from": request.address, **more, "request_id": request.id}
        _log.info("audit", extra={"fields": fields})
