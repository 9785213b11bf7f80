"""One server for all test processes: started once, stopped at the end, and its failure told to who asked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import AuthenticationError

import pytest

from tests.support.shared import Desk, RemoteServices, SharedServices

events: list[str] = []


@contextmanager
def starter() -> Iterator[str]:
    events.append("start")
    yield f"server {len(events)}"
    events.append("stop")


@contextmanager
def broken() -> Iterator[str]:
    raise OSError("no port is free")
    yield ""


@pytest.fixture
def services() -> Iterator[SharedServices]:
    events.clear()
    services = SharedServices()
    yield services
    services.stop()


def test_whoever_asks_gets_the_one_server_which_the_end_stops(services: SharedServices) -> None:
    desk = Desk(services)
    with ThreadPoolExecutor(4) as workers:
        name = f"{__name__}:starter"
        found = list(workers.map(lambda _: RemoteServices(*desk.address).find(name), range(8)))
    assert [*found, services.find(name)] == ["server 1"] * 9
    assert events == ["start"]
    services.stop()
    assert events == ["start", "stop"]


def test_a_worker_is_told_why_a_server_did_not_start(services: SharedServices) -> None:
    with pytest.raises(pytest.fail.Exception, match="OSError: no port is free"):
        RemoteServices(*Desk(services).address).find(f"{__name__}:broken")


def test_nobody_without_the_key_starts_anything(services: SharedServices) -> None:
    port, key = Desk(services).address
    with pytest.raises(AuthenticationError):
        RemoteServices(port, bytes(len(key))).find(f"{__name__}:starter")
    assert events == []
    assert RemoteServices(port, key).find(f"{__name__}:starter") == "server 1"
