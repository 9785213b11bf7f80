"""The application: only wires."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from data.stores import open_store
from serving.deadlines import Deadline
from serving.follower import Follower
from serving.handlers import install_handlers
from serving.limits import BodyLimit
from serving.metrics import Metrics
from serving.openapi import DESCRIPTION, TAGS, install_openapi
from serving.readiness import Readiness
from serving.routes import page, probes, products, search, snapshots
from serving.service import SearchService
from serving.settings import ServingSettings
from serving.supervision import supervise
from serving.tracing import Tracing
from serving.version import version


def create_app(settings: ServingSettings) -> FastAPI:
    """Return the application. Raises `InputError` for a store or a channel that cannot be."""
    metrics = Metrics()
    store = open_store(settings.store)
    follower = Follower(
        store,
        settings.channel,
        settings.cache_folder(store.uri),
        threads=settings.encoder_threads,
        poll_seconds=settings.poll_seconds,
        metrics=metrics,
    )
    app = FastAPI(
        title="Lookalike",
        description=DESCRIPTION,
        version=version(),
        openapi_tags=TAGS,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.metrics = metrics
    app.state.service = SearchService(settings, follower, metrics)
    app.state.readiness = Readiness(app.state.service, metrics, seconds=settings.probe_seconds)
    _add_layers(app, settings, metrics)
    _add_routes(app)
    install_handlers(app)
    install_openapi(app)
    return app


def _add_layers(app: FastAPI, settings: ServingSettings, metrics: Metrics) -> None:
    """The last one added is the outermost. Authentication will stand between `Tracing` and `Deadline`."""
    app.add_middleware(BodyLimit, max_bytes=settings.limits.max_body_bytes)
    app.add_middleware(Deadline, seconds=settings.limits.request_seconds)
    app.add_middleware(Tracing, metrics=metrics)


def _add_routes(app: FastAPI) -> None:
    for router in (search.router, products.parts, products.router, snapshots.router, probes.router, page.router):
        app.include_router(router)
    app.mount("/static", page.static_files(), name="static")


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: SearchService = app.state.service
    readiness: Readiness = app.state.readiness
    tasks = [
        asyncio.create_task(supervise("batcher", service.encode_for_ever)),
        asyncio.create_task(supervise("follower", service.follower.run)),
        asyncio.create_task(supervise("readiness", readiness.run)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        service.close()
