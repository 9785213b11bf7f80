"""Subscriptions of a real server: what is sent, whom it refuses, and how a connection ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close
from websockets.sync.client import connect
from websockets.sync.connection import Connection
from websockets.typing import Subprotocol

from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from lookalike.serving.access.keys import KeysDocument, create_key
from lookalike.serving.context import AccessScope
from lookalike.serving.graphql import subscriber
from tests.serving.conftest import make_settings
from tests.support.client import wait_for
from tests.support.listening import listening
from tests.support.processes import Server, server
from tests.support.shop import Shop

pytestmark = pytest.mark.services

KEY, TEXT = create_key("shop", [AccessScope.SEARCH])
ADMIN, ADMIN_TEXT = create_key("operator", [AccessScope.ADMIN])
PROTOCOL = "graphql-transport-ws"
CHANGED = "subscription { snapshotChanged { id products attributes { name } } }"
SECONDS = 60


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish(24)
    return shop


@contextmanager
def start(folder: Path, **settings: str) -> Iterator[Server]:
    with server(folder, LOOKALIKE_GRAPHQL__ENABLED="true", **settings) as running:
        running.wait(lambda state: state["ready"])
        yield running


@pytest.fixture(scope="module")
def open_server(shop: Shop) -> Iterator[Server]:
    with start(shop.folder, LOOKALIKE_STREAM__PER_CALLER="3", LOOKALIKE_STREAM__STREAMS="3") as running:
        yield running


@pytest.fixture(scope="module")
def locked_server(shop: Shop) -> Iterator[Server]:
    with start(shop.folder, LOOKALIKE_ACCESS__KEYS=KeysDocument(keys=(KEY, ADMIN)).model_dump_json()) as running:
        yield running


class Subscriber:
    """A client of graphql-transport-ws."""

    def __init__(self, socket: Connection) -> None:
        self._socket = socket

    def say(self, *messages: Mapping[str, Any] | str | bytes) -> None:
        for message in messages:
            self._socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def subscribe(self, name: str, query: str = CHANGED, **more: Any) -> None:
        self.say({"type": "subscribe", "id": name, "payload": {"query": query, **more}})

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._socket.recv(timeout=SECONDS))
        return found

    def end(self) -> tuple[int, str]:
        """Return how the server closes, past all that it sent before."""
        found: Close | None = None
        while found is None:
            try:
                self._socket.recv(timeout=SECONDS)
            except ConnectionClosed as closed:
                found = closed.rcvd or Close(0, "the server hung up")
        return found.code, found.reason


@contextmanager
def opened(port: int, init: Mapping[str, Any] | None = None, **more: Any) -> Iterator[Subscriber]:
    """Open a connection; `init` is the payload of the first message, and nothing is sent where it is None."""
    given: dict[str, Any] = {"subprotocols": [Subprotocol(PROTOCOL)], "compression": None, "proxy": None, **more}
    with connect(f"ws://127.0.0.1:{port}/graphql", **given) as socket:
        client = Subscriber(socket)
        if init is not None:
            client.say({"type": "connection_init", "payload": init})
        yield client


@contextmanager
def acknowledged(running: Server, **more: Any) -> Iterator[Subscriber]:
    with opened(running.port, {}, **more) as client:
        assert client.read() == {"type": "connection_ack"}
        yield client


def refused(running: Server, **more: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refusal, opened(running.port, **more):
        pass
    response = refusal.value.response
    return response.status_code, json.loads(response.body or b"{}")["code"]


def test_the_served_snapshot_and_each_that_takes_its_place(tmp_path: Path) -> None:
    shop = Shop(LocalStore(tmp_path / "store"), tmp_path)
    first = shop.publish(24)
    with start(tmp_path) as running, acknowledged(running) as client:
        client.subscribe("a")
        event = client.read()
        found = event["payload"]["data"]["snapshotChanged"]
        assert (event["type"], event["id"], found["id"], found["products"]) == ("next", "a", first.id, 24)
        assert {attribute["name"] for attribute in found["attributes"]} >= {"category", "price"}
        second = shop.publish(12, first_seed=50)
        assert client.read()["payload"]["data"]["snapshotChanged"]["id"] == second.id
        running.process.terminate()
        assert client.end() == (1001, "stopping")
        assert running.process.wait(30) == 0
        assert "Traceback" not in running.log


def test_ping_complete_and_the_same_id_again(open_server: Server) -> None:
    with acknowledged(open_server) as client:
        client.say({"type": "ping"}, {"type": "pong"})
        assert client.read() == {"type": "pong"}
        client.subscribe("a")
        assert client.read()["type"] == "next"
        client.say({"type": "complete", "id": "a"}, {"type": "complete", "id": "never there"}, {"type": "ping"})
        assert client.read() == {"type": "pong"}
        client.subscribe("a", "subscription Follow { snapshotChanged { id } }", operationName="Follow")
        assert client.read()["type"] == "next"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ snapshot { id } }", "invalid_operation"),
        ("subscription { ", "malformed_graphql"),
        ("subscription { snapshotChanged { none } }", "unknown_field"),
        ("subscription { a: snapshotChanged { id } b: snapshotChanged { id } }", "invalid_operation"),
        ("subscription { snapshotChanged { id } } # " + "x" * 66_000, "operation_too_large"),
        (7, "bad_field"),
    ],
)
def test_what_is_wrong_with_one_subscription_ends_that_one(open_server: Server, query: Any, code: str) -> None:
    with acknowledged(open_server) as client:
        client.subscribe("bad", query)
        error = client.read()
        assert (error["type"], error["id"], error["payload"][0]["extensions"]["code"]) == ("error", "bad", code)
        client.subscribe("good")
        assert client.read()["type"] == "next"


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (("no JSON",), 4400),
        ((b"{}",), 4400),
        (({"type": "nothing"},), 4400),
        (({"type": "subscribe", "id": 7, "payload": {"query": CHANGED}},), 4400),
        (({"type": "subscribe", "id": "a"},), 4400),
        (({"type": "connection_init"},), 4429),
        (({"type": "subscribe", "id": "a", "payload": {"query": CHANGED}},) * 2, 4409),
        (("x" * 200_000,), 1009),
    ],
)
def test_a_broken_protocol_ends_the_connection(open_server: Server, messages: tuple[Any, ...], code: int) -> None:
    with acknowledged(open_server) as client:
        client.say(*messages)
        assert client.end()[0] == code


def test_before_the_first_message(open_server: Server) -> None:
    with opened(open_server.port) as client:
        client.subscribe("a")
        assert client.end()[0] == 4401
    with opened(open_server.port) as client:
        client.say({"type": "connection_init", "payload": {"key": "k" * 20_000}})
        assert client.end()[0] == 1009


def test_keys(locked_server: Server) -> None:
    for key in (TEXT[:-3] + "abc", "lk_wrong"):
        assert refused(locked_server, additional_headers={"X-API-Key": key}) == (401, "unauthorized")
    assert refused(locked_server, additional_headers={"X-API-Key": ADMIN_TEXT}) == (403, "forbidden")
    for init in ({}, {"key": "lk_wrong"}, {"key": 7}, {"key": TEXT, "authorization": TEXT}):
        with opened(locked_server.port, init) as client:
            assert client.end() == (4403, "unauthorized")
    for init in ({"key": TEXT}, {"Authorization": f"Bearer {TEXT}"}):
        with opened(locked_server.port, init) as client:
            assert client.read() == {"type": "connection_ack"}
    with acknowledged(locked_server, additional_headers={"Authorization": f"Bearer {TEXT}"}) as client:
        client.subscribe("a")
        assert client.read()["type"] == "next"
    assert TEXT not in locked_server.log


def test_a_key_that_is_withdrawn_ends_the_connection_with_the_next_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, keys = Shop(LocalStore(tmp_path / "store"), tmp_path), tmp_path / "keys.json"
    shop.publish(8)
    keys.write_text(KeysDocument(keys=(KEY, ADMIN)).model_dump_json())
    monkeypatch.setattr(subscriber, "PROOF_SECONDS", 0.0)
    settings = make_settings(tmp_path, port=free_port(), graphql={"enabled": True}, access={"keys_file": keys})
    with listening(settings) as running, opened(settings.port, {"key": TEXT}) as client:
        assert client.read() == {"type": "connection_ack"}
        client.subscribe("a")
        assert client.read()["type"] == "next"
        keys.write_text(KeysDocument(keys=(ADMIN,)).model_dump_json())
        address = f"{running.url}/v1/products/a"
        wait_for(lambda: httpx.get(address, headers={"X-API-Key": TEXT}).status_code, lambda status: status == 401)
        shop.publish(12, first_seed=50)
        assert client.end() == (4403, "unauthorized")


def test_who_may_open_one(open_server: Server) -> None:
    assert refused(open_server, origin="https://evil.example") == (403, "cross_origin_refused")
    assert refused(open_server, subprotocols=None) == (400, "bad_request")
    assert refused(open_server, subprotocols=[Subprotocol("graphql-ws")]) == (400, "bad_request")
    with acknowledged(open_server, origin=f"http://127.0.0.1:{open_server.port}"):
        pass


def test_connections_are_streams_and_bounded_as_those(open_server: Server) -> None:
    with acknowledged(open_server), acknowledged(open_server), acknowledged(open_server):
        assert refused(open_server) == (429, "too_many_streams")
        assert 'lookalike_streams{gateway="graphql"} 3.0' in httpx.get(f"{open_server.url}/metrics").text
    wait_for(
        lambda: httpx.get(f"{open_server.url}/metrics").text,
        lambda text: 'lookalike_streams{gateway="graphql"} 0.0' in text,
    )
    with acknowledged(open_server) as client:
        for number in range(17):
            client.subscribe(str(number))
        kinds = [client.read() for _ in range(17)]
        assert sorted(message["type"] for message in kinds) == ["error", *["next"] * 16]


def test_a_subscription_is_not_answered_over_http(open_server: Server) -> None:
    reply = httpx.post(f"{open_server.url}/graphql", json={"query": CHANGED})
    assert (reply.status_code, reply.json()["errors"][0]["extensions"]["code"]) == (422, "invalid_operation")
