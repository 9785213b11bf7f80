"""Shops with snapshots, and applications that serve them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lookalike.data.stores.local import LocalStore
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from lookalike.serving.settings import ServingSettings
from tests.support.client import Client, running
from tests.support.shop import Shop

Serve = Callable[..., Client]


def make_settings(folder: Path, **changes: Any) -> ServingSettings:
    """Return settings for the shop in `folder`, quick enough for a test."""
    given: dict[str, Any] = {
        "store": str(folder / "store"),
        "cache": folder / "cache",
        "poll_seconds": 0.05,
        "probe_seconds": 5.0,
        "retain_seconds": 0.0,
        **changes,
    }
    return ServingSettings(_env_file=None, **given)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("LOOKALIKE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(LocalStore(tmp_path / "store"), tmp_path)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve the shop in `tmp_path`, with settings changed as given."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Client:
            return stack.enter_context(running(create_app(Runtime(make_settings(tmp_path, **changes)))))

        yield start


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Client]]:
    """One shop and its server for all tests of a module that change nothing."""
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish(24)
    with running(create_app(Runtime(make_settings(folder)))) as client:
        client.wait(lambda state: state["ready"])
        yield shop, client


@pytest.fixture
def client(served: tuple[Shop, Client]) -> Client:
    return served[1]
