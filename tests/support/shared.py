"""Servers that all tests of a session use. Each starts when the first test asks for it, and ends with the session.

Under pytest-xdist the first process, which runs no tests, starts them; its workers ask it over a socket:

    first process                        worker
    pytest_configure_node: opens a desk
                          ── workerinput: address, key ──>  pytest_configure
                                                            fixture: shared_service(config, starter)
    starts the server once  <── name of the starter ──
                            ── what the starter yields ──>
    unconfigure, after all workers: stops it

So a server is never stopped under a worker that is still busy, and never left behind: it ends with the first process.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pkgutil import resolve_name
from typing import Any, Protocol

import pytest

HOST = "127.0.0.1"

Starter = Callable[[], AbstractContextManager[Any]]
"""A function at the top of a module; what its context yields can be pickled."""


class SharedServices:
    """Servers of this process, each started once."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._started: dict[str, Any] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def find(self, name: str) -> Any:
        """Return what the starter `module:function` yields, started now if it was not yet."""
        with self._locks[name]:
            if name not in self._started:
                starter: Starter = resolve_name(name)
                self._started[name] = self._stack.enter_context(starter())
            return self._started[name]

    def stop(self) -> None:
        self._stack.close()


class Desk:
    """Where other processes ask for the servers of this one."""

    def __init__(self, services: SharedServices) -> None:
        self._services = services
        self._key = os.urandom(16)
        self._listener = Listener((HOST, 0), authkey=self._key, backlog=16)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> tuple[int, bytes]:
        """The port, and the key to it."""
        return self._listener.address[1], self._key

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except (AuthenticationError, OSError, EOFError):
                continue  # a stranger, or a worker that ended while it asked
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        with connection:
            try:
                connection.send((self._services.find(connection.recv()), None))
            except Exception as error:  # noqa: BLE001 - whatever kept it from starting is told to the test
                connection.send((None, f"{type(error).__name__}: {error}"))


class RemoteServices:
    """The servers of the first process, asked for at its desk."""

    def __init__(self, port: int, key: bytes) -> None:
        self._port, self._key = port, key

    def find(self, name: str) -> Any:
        with Client((HOST, self._port), authkey=self._key) as connection:
            connection.send(name)
            found, failure = connection.recv()
        if failure is not None:
            pytest.fail(failure)
        return found


class _FindsServices(Protocol):
    def find(self, name: str) -> Any: ...


_SERVICES: pytest.StashKey[_FindsServices] = pytest.StashKey()
_DESK: pytest.StashKey[Desk] = pytest.StashKey()


def shared_service(config: pytest.Config, starter: Starter) -> Any:
    """Return what `starter` yields; it is called once for all processes of this session."""
    return config.stash[_SERVICES].find(f"{starter.__module__}:{starter.__qualname__}")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[_SERVICES] = RemoteServices(*config.workerinput["services"])
        return
    services = SharedServices()
    config.stash[_SERVICES] = services
    config.add_cleanup(services.stop)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the desk is."""
    services = node.config.stash[_SERVICES]
    if _DESK not in node.config.stash:
        node.config.stash[_DESK] = Desk(services)
    node.workerinput["services"] = node.config.stash[_DESK].address
