"""The gateways of a worker: REST, and those beside it that the settings turn on."""

from __future__ import annotations

from starlette.types import ASGIApp

from lookalike.serving.rest.app import create_app
from lookalike.serving.rest.middleware.proxies import Proxies
from lookalike.serving.runtime import Runtime
from lookalike.serving.settings import ServingSettings


def create_gateways(settings: ServingSettings) -> ASGIApp:
    """Return one application for all gateways of HTTP. Raises `InputError` for a store or keys of no use."""
    runtime = Runtime(settings)
    app = create_app(runtime)
    if settings.graphql.enabled:
        from lookalike.serving.graphql.mount import add_graphql  # noqa: PLC0415 - only those who want it load it

        add_graphql(app, runtime)
    return _with_streams(app, runtime) if settings.stream.enabled else app


def _with_streams(app: ASGIApp, runtime: Runtime) -> ASGIApp:
    from lookalike.serving.stream.streams import Streams  # noqa: PLC0415 - only those who want it load it
    from lookalike.serving.websocket.gateway import WebSocketGateway  # noqa: PLC0415

    settings, gateway = runtime.settings, WebSocketGateway(Streams(runtime), app)
    if not settings.root_path and not settings.trusted_proxies:
        return gateway
    # the application has the same layer inside, which then finds nothing left to do
    return Proxies(gateway, root_path=settings.root_path, trusted=settings.trusted_proxies)
