"""The application: only wires."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from lookalike.data.stores import open_store
from lookalike.serving.access.audit import Audit
from lookalike.serving.access.authenticator import Authenticator
from lookalike.serving.access.policy import Policy
from lookalike.serving.access.rates import RateLimits
from lookalike.serving.background import in_thread, supervise
from lookalike.serving.live.follower import Follower
from lookalike.serving.live.readiness import Readiness
from lookalike.serving.live.recall import RecallProbe
from lookalike.serving.live.reload import Reloads
from lookalike.serving.rest.handlers import install_handlers
from lookalike.serving.rest.middleware.body_limit import BodyLimit
from lookalike.serving.rest.middleware.cors import Cors
from lookalike.serving.rest.middleware.deadline import Deadline
from lookalike.serving.rest.middleware.gate import Gate
from lookalike.serving.rest.middleware.head_method import HeadAsGet
from lookalike.serving.rest.middleware.security_headers import SecurityHeaders
from lookalike.serving.rest.middleware.tracing import Tracing
from lookalike.serving.rest.openapi import DESCRIPTION, TAGS, install_openapi
from lookalike.serving.rest.routes import admin, codes, docs, probes, products, search, snapshots
from lookalike.serving.search.service import SearchService
from lookalike.serving.search.thumbnails import Thumbnails
from lookalike.serving.settings import ServingSettings
from lookalike.serving.telemetry.metrics import Metrics
from lookalike.serving.telemetry.traces import trace
from lookalike.serving.telemetry.version import version
from lookalike.serving.web import page


def create_app(settings: ServingSettings) -> FastAPI:
    """Return the application. Raises `InputError` for a store, a channel or keys that cannot be."""
    metrics = Metrics()
    store = open_store(settings.store)
    folder = settings.cache_folder(store.uri)
    follower = Follower(
        store,
        settings.channel,
        folder,
        threads=settings.encoder_threads,
        poll_seconds=settings.poll_seconds,
        metrics=metrics,
        hold_seconds=settings.hold_seconds,
    )
    app = FastAPI(
        title="Lookalike",
        description=DESCRIPTION,
        version=version(),
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # its redirects would lead to wherever `Host` says
        lifespan=_lifespan,
    )
    app.state.metrics = metrics
    app.state.service = service = SearchService(settings, follower, metrics)
    app.state.thumbnails = Thumbnails(service, metrics, max_bytes=settings.thumbnail_bytes)
    app.state.readiness = Readiness(
        follower,
        metrics,
        prove=service.prove,
        proved_at=lambda: service.proved_at,
        seconds=settings.probe_seconds,
    )
    app.state.reloads = Reloads(folder, follower.wake)
    app.state.audit = Audit(metrics)
    app.state.policy = Policy(
        required=settings.access.required,
        admin_port=settings.admin_port,
        open_metrics=settings.access.open_metrics,
    )
    app.state.rates = RateLimits(settings.rates)
    app.state.authenticator = Authenticator(settings.access, metrics)
    app.state.recall = RecallProbe(follower, metrics, seconds=settings.recall_seconds)
    _add_layers(app, settings, metrics)
    _add_routes(app)
    install_handlers(app)
    install_openapi(app)
    app.state.end_traces = trace(app) if settings.traces else None
    return app


def _add_layers(app: FastAPI, settings: ServingSettings, metrics: Metrics) -> None:
    """The last one added is the outermost: nothing inside of `Gate` sees a request that may not be made."""
    authenticator: Authenticator = app.state.authenticator
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5, exclude_content_types=("image/*", "text/*"))
    app.add_middleware(BodyLimit, max_bytes=settings.limits.max_body_bytes)
    app.add_middleware(Deadline, seconds=settings.limits.request_seconds)
    app.add_middleware(HeadAsGet)
    app.add_middleware(
        Gate,
        policy=app.state.policy,
        authenticator=authenticator,
        rates=app.state.rates,
        audit=app.state.audit,
        metrics=metrics,
        max_body_bytes=settings.limits.max_body_bytes,
    )
    if settings.web.origins:
        app.add_middleware(Cors, origins=settings.web.origins)
    app.add_middleware(Tracing, metrics=metrics, access_log=settings.access_log)
    app.add_middleware(SecurityHeaders, hsts_seconds=settings.web.hsts_seconds)


def _add_routes(app: FastAPI) -> None:
    gateways = (search.router, products.parts, products.router, snapshots.router, admin.router, probes.router)
    for router in (*gateways, page.router, docs.router, codes.router):
        app.include_router(router)
    app.mount("/static", page.static_files(), name="static")


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: SearchService = app.state.service
    readiness: Readiness = app.state.readiness
    reloads: Reloads = app.state.reloads
    authenticator: Authenticator = app.state.authenticator
    recall: RecallProbe = app.state.recall
    background = {
        "batcher": service.encode_for_ever,
        "follower": service.follower.run,
        "readiness": readiness.run,
        "reloads": reloads.run,
        "recall": recall.run,
        "gauges": service.measure_for_ever,
        **authenticator.background(),
    }
    tasks = [asyncio.create_task(supervise(name, run)) for name, run in background.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        recall.close()
        app.state.thumbnails.close()
        service.close()
        if app.state.end_traces:
            await in_thread(app.state.end_traces, name="send the last traces")
