"""For operators: liveness, readiness, status, and what needs the scope `admin`."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from prometheus_client.openmetrics import exposition as openmetrics
from starlette.responses import HTMLResponse, Response

from lookalike.data.spans import has_traces
from lookalike.serving.asgi import server_port
from lookalike.serving.rest.requests import request_context
from lookalike.serving.rest.responses import reply
from lookalike.serving.rest.routes.common import check_operator, problems, runtime_of
from lookalike.serving.rest.routes.pages import page
from lookalike.serving.rest.schema import LiveReply, ReadyReply, RefusedReply, ReloadReply, StoreReply
from lookalike.serving.telemetry.metrics import CONTENT_TYPE
from lookalike.serving.telemetry.summary import summary

probes = APIRouter(tags=["probes"])
admin = APIRouter(tags=["admin"])


@probes.get("/livez", operation_id="live", summary="Is the process alive?", response_model=LiveReply)
async def live() -> Response:
    """Cheap: restart the process if this does not answer."""
    return reply(LiveReply(live=True))


@probes.get(
    "/readyz",
    operation_id="ready",
    summary="Are queries answered?",
    response_model=ReadyReply,
    responses={503: {"model": ReadyReply, "description": "Queries are not answered; `detail` says why"}},
)
async def ready(request: Request) -> Response:
    """Ready means that a picture passed encoder and index a moment ago. The store need not answer."""
    runtime = runtime_of(request)
    is_ready, detail = runtime.readiness.state()
    follower = runtime.follower
    refusal = follower.refusal
    found = ReadyReply(
        ready=is_ready,
        detail=detail,
        snapshot=follower.current.manifest.id if follower.current else None,
        proved_seconds_ago=runtime.readiness.age(),
        store=StoreReply(state=follower.state.state, detail=follower.state.detail),
        refused=refusal
        and RefusedReply(snapshot=refusal.entry.snapshot, reason=refusal.reason, attempts=refusal.attempts),
    )
    shown = found if runtime.policy.tells_all(server_port(request.scope)) else _in_short(found)
    return reply(shown, 200 if is_ready else 503)


@probes.get(
    "/metrics",
    operation_id="metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses=problems(),
)
async def metrics(request: Request) -> Response:
    """In the text format; with traces also in OpenMetrics, where buckets name a trace as their example."""
    found = runtime_of(request).metrics
    if has_traces() and openmetrics.CONTENT_TYPE_LATEST.partition(";")[0] in request.headers.get("accept", ""):
        return Response(found.render_openmetrics(), headers={"content-type": openmetrics.CONTENT_TYPE_LATEST})
    return Response(found.render(), headers={"content-type": CONTENT_TYPE})


@probes.get(
    "/metrics/summary",
    operation_id="metricsSummary",
    summary="Metrics for people",
    response_class=HTMLResponse,
    responses=problems(),
)
async def metrics_summary(request: Request) -> Response:
    """Each stage's share of the time, requests, queue, snapshot and what was refused."""
    return page("Status", summary(runtime_of(request).metrics.families(), time.time()))


def _in_short(found: ReadyReply) -> ReadyReply:
    """Leave out the sentences: they may name buckets, folders and machines."""
    detail = "Queries are answered." if found.ready else "Queries are not answered: the server's log says why."
    refused = found.refused and found.refused.model_copy(update={"reason": ""})
    store = StoreReply(state=found.store.state, detail="")
    return found.model_copy(update={"detail": detail, "store": store, "refused": refused})


@admin.post(
    "/v1/admin/reload",
    operation_id="reload",
    summary="Look at the channel now",
    status_code=202,
    response_model=ReloadReply,
    responses=problems(),
)
async def reload(request: Request) -> Response:
    """All server processes of this machine do, within a second; one that was refused is tried again."""
    runtime, asked = runtime_of(request), request_context(request.scope)
    check_operator(asked)
    runtime.audit.act(asked, "reload", "accepted")
    await runtime.reloads.ask()
    serving = runtime.follower.current
    return reply(ReloadReply(snapshot=serving.manifest.id if serving else None), 202)
