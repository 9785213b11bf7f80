"""Streams of a real server, over each carrier: the same behaviour, whatever carries it."""

from __future__ import annotations

import asyncio
import base64
import re
import struct
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from lookalike.serving.access.keys import KeysDocument, create_key
from lookalike.serving.context import AccessScope
from tests.support.client import wait_for
from tests.support.grpc_streams import SENDING_FAILED, open_grpc
from tests.support.processes import Server, server
from tests.support.shop import Shop, picture
from tests.support.stream_clients import SECONDS, StreamClient, outcomes
from tests.support.watched import resident
from tests.support.websockets import opened

pytestmark = pytest.mark.services

KEYS = {carrier: create_key(carrier, [AccessScope.SEARCH]) for carrier in ("websocket", "grpc")}
MAX_BODY = 200_000
LARGE = {"vector": [0.1] * 192, "k": 24}


@dataclass(frozen=True, slots=True)
class Streaming:
    """A server that takes streams over each carrier."""

    server: Server
    grpc_port: int

    def open(self, carrier: str, key: str | None = None) -> AbstractAsyncContextManager[StreamClient]:
        """Open a stream."""
        if carrier == "grpc":
            return open_grpc(self.grpc_port, key)
        return opened(self.server.port, additional_headers={} if key is None else {"Authorization": f"Bearer {key}"})

    @property
    def metrics(self) -> str:
        return httpx.get(f"{self.server.url}/metrics").text

    def count(self, carrier: str) -> float:
        """Return how many streams are open."""
        found = re.search(f'lookalike_streams{{gateway="{carrier}"}} (.*)', self.metrics)
        return float(found[1]) if found else 0.0


@contextmanager
def start(folder: Path, **settings: str) -> Iterator[Streaming]:
    port = free_port()
    given = {
        "LOOKALIKE_STREAM__ENABLED": "true",
        "LOOKALIKE_STREAM__WINDOW": "4",
        "LOOKALIKE_STREAM__SEND_SECONDS": "2",
        "LOOKALIKE_GRPC__PORT": str(port),
        "LOOKALIKE_LIMITS__MAX_BODY_BYTES": str(MAX_BODY),
        **settings,
    }
    with server(folder, **given) as running:
        running.wait(lambda state: state["ready"])
        yield Streaming(running, port)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish(24)
    return shop


@pytest.fixture(scope="module")
def open_server(shop: Shop) -> Iterator[Streaming]:
    """A server without keys."""
    with start(shop.folder) as running:
        yield running


@pytest.fixture(scope="module")
def locked_server(shop: Shop) -> Iterator[Streaming]:
    """A server with a key for each carrier, and a rate that a burst of five fills."""
    more = {"LOOKALIKE_RATES__PER_KEY": "1", "LOOKALIKE_RATES__BURST": "5"}
    keys = KeysDocument(keys=tuple(key for key, _ in KEYS.values())).model_dump_json()
    with start(shop.folder, LOOKALIKE_ACCESS__KEYS=keys, **more) as running:
        yield running


@pytest.fixture(params=["websocket", "grpc"])
def carrier(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def test_answers_are_those_of_rest(open_server: Streaming, carrier: str) -> None:
    pictures = [picture(901), picture(902)]
    examples = [{"image": base64.b64encode(one).decode()} for one in pictures]

    async def talk() -> dict[Any, dict[str, Any]]:
        async with open_server.open(carrier) as stream:
            hello = await stream.read()
            assert hello["type"] == "hello"
            assert (hello["window"], hello["limits"]["message_bytes"]) == (4, MAX_BODY)
            await stream.ask("one", pictures[0], k=3, facets=["category"])
            frames = [{"image": {"frame": 1}}, {"image": {"frame": 0}}]
            await stream.ask("two", *pictures, positive=frames, negative=[{"product_id": "a"}], k=3, image=None)
            packed = struct.pack("<192f", *[0.1] * 192)
            await stream.ask("vector", packed, vector={"frame": 0}, k=3, image=None)
            return await stream.answers(3)

    found = asyncio.run(talk())
    queries: dict[Any, dict[str, Any]] = {
        "one": {**examples[0], "facets": ["category"]},
        "two": {"positive": [examples[1], examples[0]], "negative": [{"product_id": "a"}]},
        "vector": {"vector": [0.1] * 192},
    }
    for name, query in queries.items():
        reply = open_server.server.fresh("/v1/search", {}, **query, k=3).json()
        assert {**found[name], "took_ms": 0} == {
            **reply, "took_ms": 0, "type": "hits", "id": name, "request_id": found[name]["request_id"]
        }  # fmt: skip


def test_a_problem_ends_an_item_and_nothing_else(open_server: Streaming, carrier: str) -> None:
    async def talk() -> None:
        async with open_server.open(carrier) as stream:
            await stream.read()
            await stream.ask("good", picture(903))
            await stream.ask("damaged", picture(903)[:80])
            await stream.ask("late", picture(904), timeout=1e-6)
            await stream.ask("never", product_id="a", timeout=-1.0)
            halves = [{"image": {"frame": 0}}, {"image": {"frame": 1}}]
            await stream.ask("large", bytes(MAX_BODY // 2), bytes(MAX_BODY // 2), positive=halves, image=None)
            await stream.ask("nobody", product_id="nobody")
            await stream.ask("again", product_id="a")
            answers = await stream.answers(7)
            assert outcomes(answers) == {
                "good": "hits",
                "damaged": "image_damaged",
                "late": "deadline_exceeded",
                "never": "bad_field",
                "large": "body_too_large",
                "nobody": "unknown_product",
                "again": "hits",
            }
            assert answers["damaged"]["status"] == 422
            assert re.fullmatch("[0-9a-f]{32}", answers["damaged"]["request_id"])

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (({"type": "start", "order": "any"},), "bad_message"),
        (({"type": "cancel", "id": ""},), "bad_message"),
        (({"type": "cancel", "id": "x" * 129},), "bad_message"),
        (({"type": "cancel", "id": "1"}, {"type": "start"}), "unexpected_message"),
    ],
)
def test_a_broken_protocol_ends_the_stream(
    open_server: Streaming, carrier: str, messages: tuple[Any, ...], reason: str
) -> None:
    async def talk() -> str:
        async with open_server.open(carrier) as stream:
            await stream.read()
            await stream.say(*messages)
            return await stream.reason()

    assert asyncio.run(talk()) == reason


def test_each_query_is_charged(locked_server: Streaming, carrier: str) -> None:
    async def talk() -> None:
        async with locked_server.open(carrier, KEYS[carrier][1]) as stream:
            assert (await stream.read())["type"] == "hello"
            for number in range(6):
                await stream.ask(f"q{number}", product_id="a", k=1)
            answers = await stream.answers(6)
            assert sorted(outcomes(answers).values()) == ["hits"] * 4 + ["rate_limited"] * 2  # the stream counts as one
            assert all(found["retry_after"] > 0 for found in answers.values() if "code" in found)

    asyncio.run(talk())
    assert KEYS[carrier][1] not in locked_server.server.log


def test_nothing_is_read_of_who_sends_no_key(locked_server: Streaming) -> None:
    """The client sends a large message at once, and is refused while nearly nothing was taken of it."""

    async def talk(key: str | None) -> str:
        async with locked_server.open("grpc", key) as stream:
            sending = asyncio.create_task(stream.ask("q", bytes(MAX_BODY)))
            reason = await stream.reason()
            await asyncio.gather(sending, return_exceptions=True)
            return reason

    for key in (None, KEYS["grpc"][1][:-3] + "abc"):
        reasons = (asyncio.run(talk(key)) for _ in range(5))
        assert next(reason for reason in reasons if reason != SENDING_FAILED) == "unauthorized"


def test_order_and_cancel(open_server: Streaming, carrier: str) -> None:
    async def talk() -> None:
        async with open_server.open(carrier) as stream:
            await stream.read()
            await stream.say({"type": "start", "order": "query"})
            for number in range(4):
                await stream.ask(f"q{number}", picture(910 + number), k=1)
            assert list(await stream.answers(4)) == ["q0", "q1", "q2", "q3"]
            await stream.ask("one", picture(920), k=1)
            await stream.say({"type": "cancel", "id": "one"})
            assert set(outcomes(await stream.answers(1)).values()) <= {"cancelled", "hits"}

    asyncio.run(talk())


def test_a_stream_whose_client_has_said_all_is_answered_to_its_end(open_server: Streaming) -> None:
    async def talk() -> None:
        async with open_server.open("grpc") as stream:
            await stream.ask("one", picture(921), k=1)
            await stream.finish()
            assert outcomes(await stream.answers(1)) == {"one": "hits"}
            assert await stream.reason() == ""

    asyncio.run(talk())


def test_a_reader_that_does_not_read_is_not_read_and_ended(open_server: Streaming, carrier: str) -> None:
    sent = 0

    async def warm() -> None:
        async with open_server.open(carrier) as stream:
            await stream.read()
            for number in range(200):
                await stream.ask(f"q{number}", **LARGE)
                await stream.answers(1)

    async def flood() -> None:
        nonlocal sent
        async with open_server.open(carrier) as stream:
            try:
                for number in range(100_000):
                    await stream.ask(f"q{number}", **LARGE)
                    sent = number
            except Exception:  # noqa: BLE001 - hung up on, as each library tells it
                pass

    def is_ended() -> bool:
        return f'gateway="{carrier}",reason="slow_reader"}} 1.0' in open_server.metrics

    async def until_ended() -> None:
        flooding = asyncio.create_task(flood())
        await asyncio.wait_for(asyncio.to_thread(wait_for, is_ended, bool), SECONDS)
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)

    asyncio.run(warm())
    before = resident(open_server.server.process.pid)
    asyncio.run(until_ended())
    assert sent < 20_000  # it was stopped by its own connection, long before it had sent all
    assert resident(open_server.server.process.pid) - before < 30_000_000
    wait_for(lambda: open_server.count(carrier) == 0, bool)


def test_a_client_that_vanishes_is_counted_as_such(open_server: Streaming, carrier: str) -> None:
    async def talk() -> None:
        async with open_server.open(carrier) as stream:
            await stream.read()
            await stream.ask("one", picture(930), k=1)

    def count() -> float:
        found = re.search(f'gateway="{carrier}",reason="left"}} (.*)', open_server.metrics)
        return float(found[1]) if found else 0.0

    before = count()
    asyncio.run(talk())
    assert wait_for(count, lambda found: found > before) == before + 1


def test_who_reads_too_late_learns_why_the_call_ended(open_server: Streaming) -> None:
    async def talk() -> None:
        async with open_server.open("grpc") as stream:
            for number in range(40):
                await stream.ask(f"q{number}", **LARGE)
            await asyncio.to_thread(wait_for, lambda: open_server.count("grpc") == 0, bool)
            assert await stream.reason() == "stream_idle"
            assert 0 < len(stream.others) < 40

    asyncio.run(talk())


async def _stay_and_follow(shop: Shop, first: str, following: StreamClient, pinned: StreamClient) -> None:
    """Let one stream stay on the first snapshot, and another follow to the second."""
    for stream in (following, pinned):
        await stream.read()
    await pinned.say({"type": "pin", "snapshot": first})
    assert await pinned.read() == {"type": "snapshot", "id": first, "pinned": first}
    await pinned.say({"type": "pin", "snapshot": "none such"})
    assert (await pinned.read())["problem"]["code"] == "snapshot_not_held"
    second = (await asyncio.to_thread(shop.publish, 12, first_seed=50)).id
    for stream, pin, expected in ((following, None, second), (pinned, first, first)):
        assert await stream.read() == {"type": "snapshot", "id": second, "pinned": pin}
        await stream.ask("q", product_id="a", k=1)
        assert (await stream.answers(1))["q"]["snapshot"] == expected


async def _stop(running: Streaming, busy: StreamClient, idle: StreamClient) -> None:
    """Stop a server while a stream has queries under way."""
    for number in range(4):
        await busy.ask(f"q{number}", picture(940 + number), k=1)
    await asyncio.sleep(0.2)
    running.server.process.terminate()
    assert outcomes(await busy.answers(4)) == {f"q{number}": "hits" for number in range(4)}
    for stream in (busy, idle):
        assert await stream.reason() == "stopping"
        assert [message["type"] for message in stream.others] == ["goaway"]


def test_streams_through_a_swap_and_a_stop(tmp_path: Path, carrier: str) -> None:
    shop = Shop(LocalStore(tmp_path / "store"), tmp_path)
    first = shop.publish(24).id

    async def talk(running: Streaming) -> None:
        async with running.open(carrier) as following, running.open(carrier) as pinned:
            await _stay_and_follow(shop, first, following, pinned)
            await _stop(running, following, pinned)

    with start(tmp_path) as running:
        began = time.monotonic()
        asyncio.run(talk(running))
        assert running.server.process.wait(20) == 0
        assert time.monotonic() - began < 60
        assert "ERROR" not in running.server.log
        assert "Traceback" not in running.server.log
