"""The key goes to its server, and nowhere else: not to other hosts, logs, errors or `repr`."""

from __future__ import annotations

import logging
import traceback

import httpx2
import pytest

from lookalike_client import AsyncClient, Client, ConnectionFailedError, ProblemError, RetryPolicy
from lookalike_client.settings import Settings
from tests.support.processes import Server

KEY = "lk_2f9dfece20_secret"


def client(answer: object, url: str = "http://shop.example/below") -> Client:
    return Client(url, api_key=KEY, retry=RetryPolicy(0), transport=httpx2.MockTransport(answer))  # type: ignore[arg-type]


def test_redirects_are_not_followed() -> None:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(307, headers={"Location": "http://thief.example/"})

    with client(answer) as asking, pytest.raises(ProblemError, match="redirects are not followed"):
        asking.snapshot()
    [request] = asked
    assert str(request.url) == "http://shop.example/below/v1/snapshots/current"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["User-Agent"].startswith("lookalike-client/")


def test_errors_do_not_hold_the_key() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    with client(answer) as asking, pytest.raises(ConnectionFailedError) as caught:
        asking.snapshot()
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.services
def test_logs_do_not_hold_the_key(running: Server, api_key: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Client(running.url, api_key=api_key) as asking:
        asking.snapshot()
    assert caplog.records
    assert api_key not in caplog.text


def test_repr_does_not_show_the_key() -> None:
    with Client("http://shop.example", api_key=KEY) as asking:
        shown = f"{asking!r} {vars(asking)!r}"
    assert KEY not in shown + repr(AsyncClient("http://shop.example", api_key=KEY)) + repr(Settings("http://a", KEY))


@pytest.mark.parametrize("key", ["", "with space", "line\nbreak", "ключ"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="the API key is") as caught:
        Settings("http://shop.example", key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["shop.example", "ftp://shop.example", "http://", "http://a/?x=1", "http://a/#x", "http://me:pw@a/", ""]
)
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address") as caught:
        Settings(url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("http://localhost/", True),
        ("https://shop.example", False),
        ("http://10.0.0.1", False),
    ],
)
def test_which_servers_are_on_this_machine(url: str, is_local: bool) -> None:
    assert Settings(url).is_local is is_local
