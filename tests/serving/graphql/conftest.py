"""Applications that answer GraphQL, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from lookalike.data.stores.local import LocalStore
from lookalike.serving.graphql.mount import add_graphql
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from lookalike.serving.stream.streams import Streams
from tests.serving.conftest import Serve, make_settings
from tests.support.client import Client, running
from tests.support.shop import Shop


def make_app(folder: Path, **changes: Any) -> FastAPI:
    graphql = {"enabled": True, **changes.pop("graphql", {})}
    runtime = Runtime(make_settings(folder, graphql=graphql, **changes))
    app = create_app(runtime)
    add_graphql(app, Streams(runtime))
    return app


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(**changes: Any) -> Client:
            client = stack.enter_context(running(make_app(tmp_path, **changes)))
            client.wait(lambda state: state["ready"])
            return client

        yield start


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Client]]:
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish(24)
    with running(make_app(folder)) as client:
        client.wait(lambda state: state["ready"])
        yield shop, client


def ask(client: Client, document: str, /, **variables: Any) -> dict[str, Any]:
    """Return the reply to an operation, of any status."""
    found: dict[str, Any] = client.post("/graphql", json={"query": document, "variables": variables}).json()
    return found


def codes(reply: dict[str, Any]) -> list[str]:
    """Return the codes of a reply's errors."""
    return [error["extensions"]["code"] for error in reply.get("errors", [])]
