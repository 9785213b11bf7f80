"""The REST gateway: only wires."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from lookalike.serving.background import in_thread
from lookalike.serving.rest.middleware.gate import Gate
from lookalike.serving.rest.middleware.headers import Cors, HeadAsGet, SecurityHeaders
from lookalike.serving.rest.middleware.limits import BodyLimit, Deadline, UnderWay
from lookalike.serving.rest.middleware.proxies import Proxies
from lookalike.serving.rest.middleware.tracing import Tracing, trace
from lookalike.serving.rest.openapi import DESCRIPTION, TAGS, install_openapi
from lookalike.serving.rest.problems import install_handlers
from lookalike.serving.rest.responses import LINES
from lookalike.serving.rest.routes import catalogue, console, embed, operations, pages, products, search, snapshots
from lookalike.serving.rest.routes.common import give_runtime
from lookalike.serving.runtime import Runtime
from lookalike.serving.telemetry import version
from lookalike.serving.web import page


def create_app(runtime: Runtime, beside: Sequence[AbstractAsyncContextManager[object]] = ()) -> FastAPI:
    """Return the application, which runs the runtime for as long as it runs itself.

    `beside` are gateways that no route leads to: they are entered when the runtime runs, and left before it ends.
    """

    @asynccontextmanager
    async def run_with_app(_: FastAPI) -> AsyncIterator[None]:
        async with runtime, AsyncExitStack() as entered:
            for gateway in beside:
                await entered.enter_async_context(gateway)
            yield
        if end_traces is not None:
            await in_thread(end_traces, name="send the last traces")

    app = FastAPI(
        title="Lookalike",
        description=DESCRIPTION,
        version=version(),
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # `trace` below, and metrics of all gateways
        redirect_slashes=False,  # its redirects would lead to wherever `Host` says
        lifespan=run_with_app,
    )
    give_runtime(app, runtime)
    _add_layers(app, runtime)
    _add_routes(app)
    install_handlers(app)
    install_openapi(app)
    end_traces = trace(app) if runtime.settings.traces else None
    return app


def _add_layers(app: FastAPI, runtime: Runtime) -> None:
    """The last one added is the outermost: nothing inside of `Gate` sees a request that may not be made."""
    settings = runtime.settings
    is_sent_as_it_is = ("image/*", "text/*", LINES)  # gzip would keep lines back until there are many
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5, exclude_content_types=is_sent_as_it_is)
    app.add_middleware(BodyLimit, max_bytes=settings.limits.max_body_bytes)
    app.add_middleware(UnderWay, bodies=runtime.bodies, replies=runtime.replies)
    app.add_middleware(Deadline, seconds=settings.limits.request_seconds)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Gate, admission=runtime.admission, max_body_bytes=settings.limits.max_body_bytes)
    if settings.web.origins:
        app.add_middleware(Cors, origins=settings.web.origins)
    app.add_middleware(Tracing, metrics=runtime.metrics, access_log=settings.access_log)
    app.add_middleware(SecurityHeaders, hsts_seconds=settings.web.hsts_seconds)
    if settings.root_path or settings.trusted_proxies:
        app.add_middleware(Proxies, root_path=settings.root_path, trusted=settings.trusted_proxies)


def _add_routes(app: FastAPI) -> None:
    gateways = (
        search.router,
        embed.router,
        products.parts,
        products.router,
        snapshots.router,
        operations.admin,
        console.router,
        catalogue.router,
        operations.probes,
    )
    for router in (*gateways, pages.router, page.router):
        # `include_router` would make each route again for this application, at its first request
        app.router.routes.extend(router.routes)
