"""Streams of `search_many`: against a real server, and against one that breaks the protocol as a test says."""

from __future__ import annotations

import asyncio
import http
import json
import logging
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from lookalike_client import (
    AsyncClient,
    BadPictureError,
    BadRequestError,
    Client,
    ConnectionFailedError,
    DeadlineExceededError,
    LookalikeError,
    Outcome,
    Query,
    RetryPolicy,
    UnauthorizedError,
)
from lookalike_client.errors import NoStreamError
from lookalike_client.query import MAX_FRAMES, ReadQuery
from lookalike_client.results import Hit, SearchResult
from lookalike_client.settings import Settings
from lookalike_client.streaming.stream import START, Stream
from lookalike_client.streaming.streamed import StreamedSearch, choose_stream
from tests.serving.conftest import make_settings
from tests.support.listening import listening
from tests.support.processes import Server as Running
from tests.support.processes import server
from tests.support.shop import Shop, product_ids
from tests.support.sites import certificates

pytestmark = [pytest.mark.services]

HELLO = {"type": "hello", "window": 4, "snapshot": "s", "limits": {"message_bytes": 4096, "request_seconds": 9.0}}
Act = Callable[["Peer", dict[str, Any]], Awaitable[None]]


class Peer:
    """The server's end of a stream. `number` counts the streams, from 1."""

    def __init__(self, socket: ServerConnection, number: int) -> None:
        self.socket = socket
        self.number = number

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def answer(self, asked: dict[str, Any]) -> None:
        await self.say(type="hits", id=asked["id"], snapshot=asked["product_id"], took_ms=1, hits=[], request_id="r")


class Script:
    """What a server does with each query that it gets; `asked` are all of them, by their streams."""

    def __init__(self, act: Act) -> None:
        self.asked: list[tuple[int, dict[str, Any]]] = []
        self.refusals: list[Response] = []
        self.streams = 0
        self._act = act

    async def run(self, socket: ServerConnection) -> None:
        self.streams += 1
        peer = Peer(socket, self.streams)
        await peer.say(**HELLO)
        try:
            async for text in socket:
                if isinstance(text, str) and text != START:
                    self.asked.append((peer.number, json.loads(text)))
                    await self._act(peer, self.asked[-1][1])
        except ConnectionClosed:
            pass

    def refuse(self, _: ServerConnection, request: Request) -> Response | None:
        assert request.path == "/v1/stream"
        return self.refusals.pop(0) if self.refusals else None


def refusal(status: int, body: object, **headers: str) -> Response:
    return Response(status, http.HTTPStatus(status).phrase, Headers(headers), json.dumps(body).encode())


@asynccontextmanager
async def scripted(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    running: Server
    async with serve(script.run, "127.0.0.1", 0, process_request=script.refuse, ssl=tls) as running:
        yield f"http{'s' if tls else ''}://127.0.0.1:{running.sockets[0].getsockname()[1]}"


async def ask_http(read: ReadQuery, seconds: float) -> SearchResult[Hit]:
    assert seconds > 0
    return SearchResult(hits=(), snapshot="by HTTP", took_ms=1)


def ask(script: Script, *products: str, seconds: float = 20, query: Callable[[str], Query] | None = None) -> list[Any]:
    """Ask about each product at the same time; return the snapshot of each answer, or the error."""

    async def run() -> list[Any]:
        async with scripted(script) as url:
            stream = Stream(Settings(url), tls=None, proxy=False)
            quick = RetryPolicy(None, first_seconds=0.001, most_seconds=0.01)
            search = StreamedSearch[Hit](stream, ask_http, no_hit, options={}, seconds=seconds, policy=quick)
            make = query or (lambda name: Query(product=name))
            answers = (search.answer(make(name)) for name in products)
            found = await asyncio.gather(*answers, return_exceptions=True)
            await stream.close()
            return [one.snapshot if isinstance(one, SearchResult) else one for one in found]

    return asyncio.run(run())


def no_hit(**_: Any) -> Hit:
    raise AssertionError


NAMES = [f"p{number}" for number in range(20)]


def test_no_more_is_under_way_than_the_window() -> None:
    waiting: list[dict[str, Any]] = []
    most: list[int] = []

    async def act(peer: Peer, asked: dict[str, Any]) -> None:
        waiting.append(asked)
        most.append(len(waiting))
        if len(waiting) == 4 or len(script.asked) == len(NAMES):
            while waiting:
                await peer.answer(waiting.pop())

    script = Script(act)
    assert ask(script, *NAMES) == NAMES
    assert max(most) == 4
    assert script.streams == 1


def test_a_lost_connection_costs_no_answer() -> None:
    """A dozen times: with each fifth query, before its answer and those of others."""

    async def act(peer: Peer, asked: dict[str, Any]) -> None:
        if len(script.asked) % 5 == 0 and len(script.asked) < 60:
            peer.socket.transport.abort()
        else:
            await peer.answer(asked)

    script = Script(act)
    assert ask(script, *NAMES) == NAMES
    assert script.streams > 3


def test_an_answer_that_comes_twice_counts_once() -> None:
    async def act(peer: Peer, asked: dict[str, Any]) -> None:
        await peer.answer(asked)
        await peer.answer({**asked, "product_id": "doubled"})
        await peer.answer({"id": 999, "product_id": "nobody asked"})

    assert ask(Script(act), *NAMES) == NAMES


def test_a_server_that_stops_answers_what_it_took() -> None:
    """The rest goes over a new stream, while the first one is still open."""
    held: list[tuple[Peer, dict[str, Any]]] = []

    async def act(peer: Peer, asked: dict[str, Any]) -> None:
        if peer.number > 1:
            await peer.answer(asked)
            if held:
                first, earlier = held.pop()
                await first.answer(earlier)
        elif not held and len(script.asked) == 3:
            held.append((peer, asked))
            await peer.say(type="goaway", finish_within=9)
        elif held:
            await peer.say(type="problem", id=asked["id"], code="stopping", status=503, retry_after=0)
        else:
            await peer.answer(asked)

    script = Script(act)
    assert ask(script, *NAMES) == NAMES
    assert script.streams == 2
    assert [asked["product_id"] for _, asked in script.asked].count("p2") == 1


@pytest.mark.parametrize("code", [1002, 1007, 1009])
def test_what_breaks_a_stream_is_asked_over_http(code: int) -> None:
    """It would break the next stream, too; those that were under way with it cannot be told from it."""

    async def act(peer: Peer, asked: dict[str, Any]) -> None:
        if asked["product_id"] == "p7":
            await peer.say(type="problem", code="bad_message", detail="No.", status=400)
            await peer.socket.close(code)
        else:
            await peer.answer(asked)

    script = Script(act)
    found = ask(script, *NAMES)
    assert found[7] == "by HTTP"
    assert set(found) <= {*NAMES, "by HTTP"}
    assert found.count("by HTTP") <= 4
    assert [asked["product_id"] for _, asked in script.asked].count("p7") == 1


def test_a_withdrawn_key_is_an_error_of_each_item() -> None:
    async def act(peer: Peer, asked: dict[str, Any]) -> None:
        await peer.say(type="problem", code="unauthorized", detail="Gone.", status=401)
        await peer.socket.close(1008)

    found = ask(Script(act), "a", "b")
    assert [type(one) for one in found] == [UnauthorizedError, UnauthorizedError]


def test_problems_of_items_and_what_may_pass() -> None:
    async def act(peer: Peer, asked: dict[str, Any]) -> None:
        code, status = {"bad": ("unknown_product", 404), "busy": ("overloaded", 429)}.get(asked["product_id"], ("", 0))
        if code and [one["product_id"] for _, one in script.asked].count(asked["product_id"]) < 3:
            await peer.say(type="problem", id=asked["id"], code=code, detail="No.", status=status, retry_after=0.01)
        else:
            await peer.answer(asked)

    script = Script(act)
    bad, busy = ask(script, "bad", "busy")
    assert (bad.code, bad.request_id) == ("unknown_product", None)
    assert busy == "busy"
    assert len(script.asked) == 4


def test_time_is_over_for_an_item_alone() -> None:
    async def act(peer: Peer, asked: dict[str, Any]) -> None:
        if asked["product_id"] != "slow":
            await peer.answer(asked)

    script = Script(act)
    slow, quick = ask(script, "slow", "quick", seconds=0.5)
    assert (slow.code, quick) == ("deadline_exceeded", "quick")
    assert 0 < script.asked[0][1]["timeout"] <= 0.5


def test_a_server_that_is_stuck_is_left() -> None:
    """Its window is full of queries that it does not answer."""

    async def act(peer: Peer, asked: dict[str, Any]) -> None:
        if peer.number > 1:
            await peer.answer(asked)

    async def run(script: Script) -> list[Any]:
        async with scripted(script) as url:
            stream = Stream(Settings(url), tls=None, proxy=False)
            now = time.monotonic()
            stuck = [stream.ask(ReadQuery(Query(product="stuck")), now + 0.3) for _ in range(4)]
            others = [stream.ask(ReadQuery(Query(product="other")), now + 20) for _ in range(4)]
            found = await asyncio.gather(*stuck, *others, return_exceptions=True)
            await stream.close()
            return [one["snapshot"] if isinstance(one, dict) else type(one) for one in found]

    assert asyncio.run(run(Script(act))) == [DeadlineExceededError] * 4 + ["other"] * 4


def test_over_tls(tmp_path: Path) -> None:
    ca_file, context = certificates(tmp_path, "shop.example")

    async def run(verify: bool | str) -> Outcome[Any]:
        async with scripted(Script(_answer), context) as url, AsyncClient(url, verify=verify) as client:
            queries = [Query(product="a")]
            [found] = [outcome async for outcome in client.search_many(queries, stream=True, timeout=1)]
            return found

    assert asyncio.run(run(str(ca_file))).unwrap().snapshot == "a"
    assert "certificate" in str(asyncio.run(run(True)).error)


@pytest.mark.parametrize("said", ["no JSON", "[]", '{"type": "hits", "id": 1}', '{"id": 1}'])
def test_what_no_server_says_is_an_error(said: str) -> None:
    async def act(peer: Peer, asked: dict[str, Any]) -> None:
        await peer.socket.send(said)

    [found] = ask(Script(act), "a")
    assert isinstance(found, LookalikeError)
    assert "Lookalike server" in str(found)


async def _answer(peer: Peer, asked: dict[str, Any]) -> None:
    await peer.answer(asked)


@pytest.mark.parametrize("status", [200, 403, 404, 426, 502])
def test_a_proxy_that_opens_no_stream_is_no_error(status: int) -> None:
    script = Script(_answer)
    script.refusals = [refusal(status, "<h1>No</h1>")] * 9
    assert ask(script, "a", "b", "c") == ["by HTTP"] * 3
    assert len(script.refusals) == 8


def test_a_redirect_is_not_followed() -> None:
    script = Script(_answer)
    script.refusals = [refusal(307, "", Location="/v1/stream")]
    assert ask(script, "a") == ["by HTTP"]


def test_problems_of_opening_are_those_of_items() -> None:
    script = Script(_answer)
    script.refusals = [refusal(401, {"code": "unauthorized", "detail": "Gone.", "status": 401})]
    [found] = ask(script, "a")
    assert isinstance(found, UnauthorizedError)
    script = Script(_answer)
    script.refusals = [refusal(429, {"code": "rate_limited", "detail": "Wait.", "status": 429})] * 3
    assert ask(script, "a") == ["a"]
    script = Script(_answer)
    script.refusals = [refusal(429, {"code": "too_many_streams", "detail": "Wait.", "status": 429})]
    assert ask(script, "a") == ["by HTTP"]


def test_what_would_end_a_stream_is_not_sent() -> None:
    script = Script(_answer)
    [large] = ask(script, "x" * 5000)
    assert isinstance(large, BadRequestError)
    assert large.code == "body_too_large"
    assert ask(script, "a", query=lambda name: Query(product=name, min_score=float("nan"))) == ["by HTTP"]
    assert script.asked == []


def test_pictures_and_vectors_are_frames() -> None:
    frames: list[bytes] = []
    many = [bytes([number]) for number in range(MAX_FRAMES + 1)]
    fields = ReadQuery(Query(positive=[*many, [1.0]], negative=[b"x"])).to_json(frames)
    assert frames == many[:MAX_FRAMES]
    assert fields["positive"][5] == {"image": {"frame": 5}}
    assert fields["positive"][MAX_FRAMES:] == [{"image": "QA=="}, {"vector": [1.0]}]
    frames.clear()
    assert ReadQuery(Query([1.0, -2.0])).to_json(frames) == {"vector": {"frame": 0}}
    assert frames == [b"\x00\x00\x80\x3f\x00\x00\x00\xc0"]


def test_which_way_is_taken() -> None:
    assert choose_stream(None, is_possible=True)
    assert not choose_stream(None, is_possible=False)
    assert not choose_stream(False, is_possible=True)
    with pytest.raises(RuntimeError, match=r"lookalike-client\[stream\]"):
        choose_stream(True, is_possible=False)


# A real server


@pytest.fixture(scope="module")
def streaming(shop: Shop, api_key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    keys = tmp_path_factory.getbasetemp() / "keys.json"
    cache = shop.folder / "cache-2"
    settings = {"ACCESS__KEYS_FILE": keys, "STREAM__ENABLED": "true", "ACCESS_LOG": "1", "CACHE": cache}
    with server(shop.folder, **{f"LOOKALIKE_{name}": str(value) for name, value in settings.items()}) as found:
        found.wait(lambda state: state["ready"])
        yield found


@contextmanager
def all_over_a_stream(running: Running, count: int) -> Iterator[None]:
    """Hold that so many queries were answered by streams, and none in another way."""
    before = len(running.log)
    yield
    lines = [line for line in running.log[before:].splitlines() if "request gateway=" in line and "/v1/" in line]
    queries = [line for line in lines if "method=query route=/v1/stream" in line]
    assert len(queries) == len(lines) == count


def all_items(shop: Shop, missing: Path) -> list[Any]:
    pictures = sorted((shop.folder / "pictures-1").iterdir())
    return [*pictures, b"no picture", missing, Query(product=product_ids(1)[0], k=3), 7]


def check_outcomes(outcomes: list[Outcome[Any]]) -> None:
    assert [outcome.place for outcome in outcomes] == list(range(28))
    assert [outcome.unwrap()[0].id for outcome in outcomes[:24]] == product_ids(24)
    kinds = [type(outcome.error) for outcome in outcomes[24:]]
    assert kinds == [BadPictureError, FileNotFoundError, type(None), TypeError]
    assert len(outcomes[26].unwrap()) == 3


def test_a_server_answers_each_item(streaming: Running, api_key: str, shop: Shop, tmp_path: Path) -> None:
    items = all_items(shop, tmp_path / "none.png")
    with Client(streaming.url, api_key=api_key) as client, all_over_a_stream(streaming, 52):
        check_outcomes(list(client.search_many(items, ordered=True, stream=True, k=1)))
        unordered = list(client.search_many(items, stream=True, k=1))
        check_outcomes(sorted(unordered, key=lambda outcome: outcome.place))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lookalike-search")]


def test_a_server_answers_each_item_of_a_loop(streaming: Running, api_key: str, shop: Shop, tmp_path: Path) -> None:
    async def collect() -> list[Outcome[Any]]:
        async with AsyncClient(streaming.url, api_key=api_key) as client:
            items = all_items(shop, tmp_path / "none.png")
            found = [outcome async for outcome in client.search_many(items, ordered=True, stream=True, k=1)]
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return found

    with all_over_a_stream(streaming, 26):
        check_outcomes(asyncio.run(collect()))


def test_a_stopped_consumer_stops_the_sender(streaming: Running, api_key: str, shop: Shop) -> None:
    read: list[int] = []

    def items() -> Iterator[bytes]:
        content = (shop.folder / "pictures-1" / "0001.png").read_bytes()
        for number in range(1000):
            read.append(number)
            yield content

    with Client(streaming.url, api_key=api_key) as client:
        outcomes = client.search_many(items(), stream=True, window=6, k=1)
        for taken in range(1, 12):
            next(outcomes)
            time.sleep(0.02)
            assert len(read) <= taken + 6
        outcomes.close()
    assert len(read) <= 11 + 6


def test_a_wrong_key_is_told(streaming: Running, api_key: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Client(streaming.url, api_key=api_key) as client:
        [found] = client.search_many([Query(product=product_ids(1)[0])], stream=True)
        assert found.unwrap().request_id
    assert api_key not in caplog.text
    with Client(streaming.url, api_key=api_key + "x") as client:
        [found] = client.search_many([b"x"], stream=True, timeout=20)
    assert isinstance(found.error, UnauthorizedError)
    assert api_key not in caplog.text


def test_a_missing_key_is_told_at_once(streaming: Running) -> None:
    with Client(streaming.url) as client:
        [found] = client.search_many([b"x"], stream=True, timeout=2)
    assert isinstance(found.error, UnauthorizedError)


def test_a_server_without_streams_answers_over_http(shop: Shop, tmp_path: Path) -> None:
    from lookalike.infra.demo.processes import free_port

    settings = make_settings(shop.folder, cache=tmp_path / "cache", port=free_port())
    with listening(settings) as running, Client(running.url) as client:
        check_outcomes(list(client.search_many(all_items(shop, tmp_path / "x"), ordered=True, stream=True, k=1)))


def test_a_server_that_is_not_there_is_an_error() -> None:
    from lookalike.infra.demo.processes import free_port

    with Client(f"http://127.0.0.1:{free_port()}") as client:
        [found] = client.search_many([b"x"], stream=True, timeout=0.5)
    assert isinstance(found.error, ConnectionFailedError)
    assert not isinstance(found.error, NoStreamError)
