"""Mounting: GraphQL within the application of HTTP, behind the same layers."""

from __future__ import annotations

from starlette.applications import Starlette

from lookalike.data.errors import InputError
from lookalike.serving.runtime import Runtime


def add_graphql(app: Starlette, runtime: Runtime) -> None:
    """Let an application answer `POST /graphql`. Raises `InputError` where the extra `graphql` is not installed."""
    try:
        from lookalike.serving.graphql.gateway import PATH, Gateway  # noqa: PLC0415 - only those who want it load it
    except ImportError as error:
        raise InputError(f"GraphQL needs the extra `graphql`: pip install 'lookalike[graphql]' ({error})") from error
    app.add_route(PATH, Gateway(runtime).answer, methods=["POST"], name="graphql", include_in_schema=False)
