"""What tests of fetching share: names that only they know."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from lookalike.data.fetch import client
from lookalike.data.stores.retry import Backoff
from tests.support.fetches import HOST, forget
from tests.support.sites import LOCAL, Names


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(client, "BACKOFF", Backoff(0.01))
    forget()
    yield
    forget()


@pytest.fixture
def names(fresh: None, monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    names.answers |= {HOST: [[LOCAL]], f"other.{HOST}": [[LOCAL]]}
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    return names
