"""Mounting: GraphQL within the application of HTTP, behind the same layers."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.types import ASGIApp

from lookalike.data.errors import InputError
from lookalike.serving.stream.streams import Streams


def add_graphql(app: Starlette, streams: Streams) -> ASGIApp:
    """Let an application answer `POST /graphql`; return it with a layer that answers subscriptions at that address.

    Raises `InputError` where the extra `graphql` is not installed.
    """
    try:
        from lookalike.serving.graphql.gateway import PATH, Gateway  # noqa: PLC0415 - only those who want it load it
        from lookalike.serving.graphql.subscriptions import Subscriptions  # noqa: PLC0415
    except ImportError as error:
        raise InputError(f"GraphQL needs the extra `graphql`: pip install 'lookalike[graphql]' ({error})") from error
    gateway = Gateway(streams.runtime)
    app.add_route(PATH, gateway.answer, methods=["POST"], name="graphql", include_in_schema=False)
    return Subscriptions(gateway, streams, app)
