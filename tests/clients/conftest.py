"""A real server for the client, and its key."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike.data.stores.local import LocalStore
from lookalike_client import Client
from tests.support.processes import Server, server
from tests.support.servers import ROOT
from tests.support.shop import Shop

COUNT = 24


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LOOKALIKE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish(COUNT)
    return shop


@pytest.fixture(scope="session")
def api_key(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The key of the server; the file that knows it lies beside the shop."""
    return make_key(tmp_path_factory.getbasetemp() / "keys.json", "search")


def make_key(file: Path, scope: str) -> str:
    command = [sys.executable, "-m", "lookalike", "keys", "create", "--scope", scope, "--name", "tests"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LOOKALIKE_ACCESS__KEYS_FILE": str(file)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.split()[-1]


@pytest.fixture(scope="session")
def running(shop: Shop, api_key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = tmp_path_factory.getbasetemp() / "keys.json"
    with server(shop.folder, LOOKALIKE_ACCESS__KEYS_FILE=str(keys), LOOKALIKE_WORKERS="1") as found:
        found.wait(lambda state: state["ready"])
        yield found


@pytest.fixture
def client(running: Server, api_key: str) -> Iterator[Client]:
    with Client(running.url, api_key=api_key) as client:
        yield client


@pytest.fixture
def file(shop: Shop) -> Path:
    """The picture of the fourth product, which has no odd id."""
    return shop.folder / "pictures-1" / "0003.png"
