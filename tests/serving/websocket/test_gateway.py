"""`/v1/stream` of a real server: what it answers, whom it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lookalike.data.stores.local import LocalStore
from lookalike.serving.access.keys import KeysDocument, create_key
from lookalike.serving.context import AccessScope
from tests.support.client import wait_for
from tests.support.processes import Server, server
from tests.support.shop import Shop, picture
from tests.support.stream_clients import SECONDS, outcomes
from tests.support.websockets import opened

pytestmark = pytest.mark.services

KEY, TEXT = create_key("shop", [AccessScope.SEARCH])
SITE = "https://shop.example"
MAX_BODY = 200_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish(24)
    return shop


def start(folder: Path, **settings: str) -> Any:
    given = {
        "LOOKALIKE_STREAM__ENABLED": "true",
        "LOOKALIKE_STREAM__WINDOW": "4",
        "LOOKALIKE_STREAM__SEND_SECONDS": "2",
        "LOOKALIKE_LIMITS__MAX_BODY_BYTES": str(MAX_BODY),
        "LOOKALIKE_WEB__CORS_ORIGINS": SITE,
        **settings,
    }
    return server(folder, **given)


@pytest.fixture(scope="module")
def open_server(shop: Shop) -> Iterator[Server]:
    """A server without keys."""
    with start(shop.folder) as running:
        running.wait(lambda state: state["ready"])
        yield running


@pytest.fixture(scope="module")
def locked_server(shop: Shop) -> Iterator[Server]:
    """A server with keys, and a rate that a burst of five fills."""
    more = {"LOOKALIKE_RATES__PER_KEY": "1", "LOOKALIKE_RATES__BURST": "5"}
    with start(shop.folder, LOOKALIKE_ACCESS__KEYS=KeysDocument(keys=(KEY,)).model_dump_json(), **more) as running:
        running.wait(lambda state: state["ready"])
        yield running


async def refused(port: int, path: str = "/v1/stream", **more: Any) -> tuple[int, str]:
    """Return status and code of an offer that is refused."""
    with pytest.raises(InvalidStatus) as refusal:
        async with opened(port, path, **more):
            pass
    response = refusal.value.response
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, json.loads(response.body)["code"]


async def ends(port: int, *messages: dict[str, Any] | bytes | str) -> tuple[int, str]:
    """Return how a stream ends after these messages."""
    async with opened(port) as stream:
        await stream.read()
        await stream.say(*messages)
        return await stream.end()


def test_base64_frames_and_their_faults(open_server: Server) -> None:
    image = picture(903)

    async def talk() -> dict[Any, dict[str, Any]]:
        async with opened(open_server.port) as stream:
            await stream.read()
            await stream.ask("frame", image, k=3)
            await stream.ask(2, image=base64.b64encode(image).decode(), k=3)
            await stream.ask("no frame", image, image={"frame": 1})
            await stream.ask("field", product_id="a", colour="red")
            await stream.ask("large", bytes(MAX_BODY - 10), bytes(100), positive=[{"image": {"frame": 0}}])
            return await stream.answers(5)

    found = asyncio.run(talk())
    assert outcomes(found) == {
        "frame": "hits", 2: "hits", "no frame": "bad_field", "field": "unknown_field", "large": "body_too_large"
    }  # fmt: skip
    assert found["frame"]["hits"] == found[2]["hits"]


@pytest.mark.parametrize(
    ("messages", "code", "reason"),
    [
        (("{",), 1002, "bad_message"),
        ((b"a picture of nobody",), 1002, "bad_message"),
        (({"type": "query", "id": 1, "frames": 1}, {"type": "cancel", "id": 1}), 1002, "bad_message"),
        (({"type": "start", "colour": "red"},), 1002, "bad_message"),
        (({"type": "goaway"},), 1002, "bad_message"),
        (({"type": "cancel", "id": 1}, {"type": "start"}), 1002, "unexpected_message"),
        ((bytes(MAX_BODY + 1),), 1009, None),
    ],
)
def test_a_broken_protocol_ends_the_stream(
    open_server: Server, messages: tuple[Any, ...], code: int, reason: str | None
) -> None:
    found = asyncio.run(ends(open_server.port, *messages))
    assert found[0] == code
    assert reason in {None, found[1]}


def test_what_is_sent_before_hello_is_bounded(locked_server: Server) -> None:
    async def talk() -> int:
        async with opened(locked_server.port) as stream:
            await stream.say(json.dumps({"type": "start", "key": "k" * 20_000}))
            return (await stream.end())[0]

    assert asyncio.run(talk()) == 1009


def test_keys_and_rates(locked_server: Server) -> None:
    async def talk() -> None:
        port = locked_server.port
        assert await refused(port, additional_headers={"X-API-Key": "lka_wrong"}) == (401, "unauthorized")
        assert await refused(port, f"/v1/stream?key={TEXT}") == (400, "bad_request")
        async with opened(port) as stream:
            await stream.ask(1, product_id="a")
            assert await stream.end() == (1008, "unauthorized")
        async with opened(port) as stream:
            await stream.say({"type": "start", "key": "lka_wrong"})
            assert await stream.end() == (1008, "unauthorized")
            assert stream.others[0]["code"] == "unauthorized"
        async with opened(port, additional_headers={"Authorization": f"Bearer {TEXT}"}) as stream:
            assert (await stream.read())["type"] == "hello"
        async with opened(port) as stream:
            await stream.say({"type": "start", "key": TEXT})
            assert (await stream.read())["type"] == "hello"
            for number in range(5):
                await stream.ask(number, product_id="a", k=1)
            answers = await stream.answers(5)
            assert sorted(outcomes(answers).values()) == ["hits"] * 3 + ["rate_limited"] * 2
            refusal = next(found for found in answers.values() if "code" in found)
            assert refusal["retry_after"] > 0

    asyncio.run(talk())
    assert TEXT not in locked_server.log


def test_pages_of_other_sites_may_not_ask(open_server: Server) -> None:
    async def talk() -> None:
        port = open_server.port
        for origin in ("https://evil.example", "null", f"http://127.0.0.1:{port + 1}"):
            assert await refused(port, origin=origin) == (403, "cross_origin_refused")
        for origin in (SITE, f"http://127.0.0.1:{port}"):
            async with opened(port, origin=origin) as stream:
                assert (await stream.read())["type"] == "hello"

    asyncio.run(talk())


def test_the_subprotocol_is_optional_and_nothing_is_compressed(open_server: Server) -> None:
    async def talk() -> None:
        async with opened(open_server.port, subprotocols=["other", "lookalike.v1"], compression="deflate") as stream:
            assert stream.socket.subprotocol == "lookalike.v1"
            assert stream.socket.response is not None
            assert "Sec-WebSocket-Extensions" not in stream.socket.response.headers
        async with opened(open_server.port, subprotocols=["other"]) as stream:
            assert stream.socket.subprotocol is None

    asyncio.run(talk())


def test_a_stream_lasts_longer_than_a_connection_may_wait_for_a_request(open_server: Server) -> None:
    async def talk() -> None:
        async with opened(open_server.port) as stream:
            await stream.read()
            await asyncio.sleep(11)
            await stream.ask("later", product_id="a", k=1)
            assert outcomes(await stream.answers(1)) == {"later": "hits"}

    asyncio.run(talk())


def test_half_a_frame_and_then_nothing(open_server: Server) -> None:
    """A frame that is cut off harms nobody, and is let go with its connection."""
    with socket.create_connection(("127.0.0.1", open_server.port)) as raw:
        head = "GET /v1/stream HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        raw.sendall(f"{head}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 101")
        raw.sendall(b"\x82\xff" + struct.pack(">Q", 100_000) + b"mask" + bytes(50_000))
    text = wait_for(
        lambda: httpx.get(f"{open_server.url}/metrics").text,
        lambda text: 'lookalike_streams{gateway="websocket"} 0.0' in text,
    )
    assert "lookalike_stream_ends_total" in text


def test_empty_frames_without_end_are_no_message(open_server: Server) -> None:
    async def pieces() -> AsyncIterator[str]:
        while True:
            yield ""

    async def talk() -> None:
        async with opened(open_server.port) as stream:
            await stream.read()
            with pytest.raises((ConnectionClosed, ConnectionError)):  # hung up on, while it still sends
                await asyncio.wait_for(stream.socket.send(pieces()), SECONDS)

    asyncio.run(talk())


def test_other_addresses_and_servers_without_streams(shop: Shop, open_server: Server) -> None:
    async def status(port: int, path: str) -> int:
        with pytest.raises(InvalidStatus) as refusal:
            async with opened(port, path):
                pass
        return refusal.value.response.status_code

    assert httpx.get(f"{open_server.url}/v1/stream").status_code == 404
    assert asyncio.run(status(open_server.port, "/v1/other")) == 403
    with server(shop.folder) as off:
        off.wait(lambda state: state["ready"])
        assert asyncio.run(status(off.port, "/v1/stream")) == 404  # the offer is ignored
