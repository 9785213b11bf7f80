"""Requests as they are measured and logged, the same for every gateway."""

from __future__ import annotations

import logging
import time

from lookalike.data.spans import exemplar
from lookalike.serving.context import RequestContext
from lookalike.serving.telemetry import ACCESS
from lookalike.serving.telemetry.metrics import Metrics

_access = logging.getLogger(ACCESS)


def measure_request(
    metrics: Metrics, request: RequestContext, *, method: str, route: str, status: int, log: bool
) -> None:
    """Count a request that has ended, and write a line about it where `log` says so.

    `method` and `route` are labels: they are never a caller's to make. The line has neither address nor path: a
    template and an id tell enough, and hold nothing that a caller made up.
    """
    seconds = time.monotonic() - request.started
    metrics.request(request.gateway, method, route, status).observe(seconds, exemplar())
    if not log:
        return
    fields = {
        "gateway": request.gateway,
        "method": method,
        "route": route,
        "status": status,
        "ms": round(1000 * seconds, 2),
        "request_id": request.id,
        "snapshot": request.snapshot,
        "key": request.caller.id,
    }
    _access.info("request", extra={"fields": fields})
