"""A stream, over a carrier in memory: what is taken, answered, refused, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lookalike.serving.access.keys import KeysDocument, create_key
from lookalike.serving.context import AccessScope
from lookalike.serving.stream import session
from lookalike.serving.stream.messages import Ask, Cancel, Goaway, Hello, Hits, Pin, Problem, Snapshot, Start
from lookalike.serving.stream.streams import Streams
from tests.serving.conftest import Serve
from tests.support.client import Client
from tests.support.shop import Shop, picture
from tests.support.streams import duplex

pytestmark = pytest.mark.slow

KEY, TEXT = create_key("shop", [AccessScope.SEARCH])
ADMIN, ADMIN_TEXT = create_key("operator", [AccessScope.ADMIN])
KEYS = KeysDocument(keys=(KEY, ADMIN)).model_dump_json()


def codes(answers: dict[Any, Hits | Problem]) -> dict[Any, str]:
    return {name: found.problem.code if isinstance(found, Problem) else "hits" for name, found in answers.items()}


@contextmanager
def held_encoder(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let no picture be encoded until the event is set."""
    encoder, go = client.loaded.searcher.encoder, threading.Event()
    infer = encoder.infer

    def wait(batch: Any) -> Any:
        go.wait(60)
        return infer(batch)

    monkeypatch.setattr(encoder, "infer", wait)
    try:
        yield go
    finally:
        go.set()


@pytest.fixture
def small(shop: Shop, serve: Serve) -> Client:
    """A server of streams with a window of two."""
    shop.publish(24)
    client = serve(stream={"window": 2, "per_caller": 2, "streams": 3}, retain_seconds=0.0)
    client.wait(lambda state: state["ready"])
    return client


def test_hello_hits_and_problems(served: tuple[Shop, Client]) -> None:
    shop, client = served

    async def talk() -> None:
        async with duplex(client.runtime) as stream:
            hello = await stream.read(Hello)
            assert (hello.window, hello.snapshot) == (32, shop.channel.current().snapshot)
            assert hello.limits.message_bytes == client.runtime.settings.limits.max_body_bytes
            stream.ask("product", product_id="a", k=2)
            stream.ask(2, image=picture(1), k=3)
            stream.ask("bad picture", image=b"text")
            stream.ask("unknown", product_id="none such")
            stream.ask("field", product_id="a", colour="red")
            stream.say(Ask("late", {"product_id": "a"}, timeout=1e-9))
            answers = await stream.answers(6)
            assert codes(answers) == {
                "product": "hits",
                2: "hits",
                "bad picture": "image_not_an_image",
                "unknown": "unknown_product",
                "field": "unknown_field",
                "late": "deadline_exceeded",
            }
            first = answers["product"]
            assert isinstance(first, Hits)
            assert len(first.answer.hits) == 2
            stream.say(None)
            assert (await stream.end()).reason == "done"

    client.run(talk())
    assert client.runtime.bodies.held == client.runtime.replies.held == 0


def test_ready_first_or_in_order(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(start: Start, seed: int, go: threading.Event) -> list[Any]:
        async with duplex(client.runtime) as stream:
            await stream.read(Hello)
            stream.say(start)
            stream.ask("picture", image=picture(seed))
            stream.ask("product", product_id="a")
            asyncio.get_running_loop().call_later(0.3, go.set)
            return list(await stream.answers(2))

    with held_encoder(client, monkeypatch) as go:
        assert client.run(talk(Start(), 801, go)) == ["product", "picture"]
    with held_encoder(client, monkeypatch) as go:
        assert client.run(talk(Start(order="query"), 802, go)) == ["picture", "product"]


def test_a_cancelled_query_ends_with_a_problem(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(go: threading.Event) -> None:
        async with duplex(client.runtime) as stream:
            await stream.read(Hello)
            stream.ask("one", image=picture(811))
            stream.ask("two", image=picture(812))
            await asyncio.sleep(0.05)
            stream.say(Cancel("one"), Cancel("one"), Cancel("never there"))
            assert codes(await stream.answers(1)) == {"one": "cancelled"}
            go.set()
            assert codes(await stream.answers(1)) == {"two": "hits"}
            stream.ask("one", product_id="a")  # the id is free again
            assert codes(await stream.answers(1)) == {"one": "hits"}

    with held_encoder(client, monkeypatch) as go:
        client.run(talk(go))


def test_a_query_that_is_cancelled_at_once_has_an_answer_too(client: Client) -> None:
    async def talk() -> None:
        async with duplex(client.runtime) as stream:
            await stream.read(Hello)
            for number in range(50):
                stream.say(Ask(number, {"product_id": "a", "k": 1}), Cancel(number))
            assert set(codes(await stream.answers(50)).values()) <= {"cancelled", "hits"}
            stream.say(None)
            assert (await stream.end()).reason == "done"

    client.run(talk())


def test_nothing_is_read_beyond_the_window(small: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(go: threading.Event) -> None:
        async with duplex(small.runtime) as stream:
            await stream.read(Hello)
            for number in range(6):
                stream.ask(number, image=picture(820 + number))
            await asyncio.sleep(0.3)
            assert stream.carrier.incoming.qsize() == 3  # two are under way, one is not taken yet
            assert small.runtime.service._in_progress <= 2 + 1  # and perhaps the probe
            go.set()
            assert set(codes(await stream.answers(6)).values()) == {"hits"}

    with held_encoder(small, monkeypatch) as go:
        small.run(talk(go))


def test_a_client_that_does_not_read_is_not_read_either_and_left_in_the_end(shop: Shop, serve: Serve) -> None:
    shop.publish(24)
    client = serve(stream={"window": 4, "send_seconds": 1.0})
    client.wait(lambda state: state["ready"])

    async def talk() -> None:
        async with duplex(client.runtime, room=3) as stream:
            for number in range(50):
                stream.ask(number, product_id="a")
            end = await stream.end()
            assert end.reason == "slow_reader"
            assert stream.carrier.incoming.qsize() >= 50 - 2 - 4 - 1  # hello and two answers, the window, one not taken

    client.run(talk())
    assert client.runtime.replies.held == 0


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ((Ask(1, {"url": "https://127.0.0.1/"}), Start()), "unexpected_message"),
        ((Start(), Start()), "unexpected_message"),
        ((Ask(1, {"image": picture(830)}), Ask(1, {"product_id": "a"})), "duplicate_id"),
    ],
)
def test_what_breaks_the_protocol_ends_the_stream(
    client: Client, messages: tuple[Any, ...], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def talk() -> None:
        async with duplex(client.runtime) as stream:
            await stream.read(Hello)
            stream.say(*messages)
            end = await stream.end()
            assert end.reason == "broken"
            assert end.problem is not None
            last = [stream.carrier.outgoing.get_nowait() for _ in range(stream.carrier.outgoing.qsize())][-1]
            assert isinstance(last, Problem)
            assert (last.id, last.problem.code) == (None, code)

    with held_encoder(client, monkeypatch):
        client.run(talk())


def test_a_key_in_a_header_or_in_the_first_message(shop: Shop, serve: Serve) -> None:
    shop.publish(24)
    client = serve(access={"keys": KEYS})
    client.wait(lambda state: state["ready"])

    async def refused(*messages: Any, keys: tuple[str, ...] = ()) -> tuple[str, str]:
        async with duplex(client.runtime, *keys) as stream:
            stream.say(*messages)
            end = await stream.end()
            assert end.problem is not None
            return end.reason, end.problem.code

    async def talk() -> None:
        async with duplex(client.runtime, TEXT) as stream:
            await stream.read(Hello)
            stream.ask(1, product_id="a")
            assert codes(await stream.answers(1)) == {1: "hits"}
        async with duplex(client.runtime) as stream:
            stream.say(Start(TEXT, "query"))
            await stream.read(Hello)
        query = Ask(1, {"product_id": "a"})
        assert await refused(query) == ("refused", "unauthorized")
        assert await refused(Start(), query) == ("refused", "unauthorized")
        assert await refused(Start("lka_wrong")) == ("refused", "unauthorized")
        assert await refused(Start(ADMIN_TEXT)) == ("refused", "forbidden")
        assert await refused(keys=(TEXT, TEXT)) == ("refused", "unauthorized")
        assert await refused(Start(TEXT), keys=(TEXT,)) == ("refused", "unauthorized")

    client.run(talk())


def test_who_shows_no_key_is_not_waited_for_long(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish(24)
    client = serve(access={"keys": KEYS})
    monkeypatch.setattr(session, "KEY_SECONDS", 0.1)

    async def talk() -> None:
        async with duplex(client.runtime) as stream:
            assert (await stream.end()).reason == "idle"

    client.run(talk())


def test_each_query_counts_where_rates_are_limited(shop: Shop, serve: Serve) -> None:
    shop.publish(24)
    client = serve(rates={"per_address": 1, "burst": 4})
    client.wait(lambda state: state["ready"])

    async def talk() -> None:
        async with duplex(client.runtime) as stream:
            await stream.read(Hello)
            for number in range(6):
                stream.ask(number, product_id="a")
            answers = await stream.answers(6)
            assert sorted(codes(answers).values()) == ["hits"] * 3 + ["rate_limited"] * 3  # the stream counts as one
            refused = next(found for found in answers.values() if isinstance(found, Problem))
            assert refused.problem.retry_after
            assert not stream.running.done()

    client.run(talk())


def test_a_key_that_is_withdrawn_ends_the_stream(shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish(24)
    keys = shop.folder / "keys.json"
    keys.write_text(KEYS)
    client = serve(access={"keys_file": keys})
    client.wait(lambda state: state["ready"])
    monkeypatch.setattr(session, "PROOF_SECONDS", 0.0)

    async def talk() -> None:
        async with duplex(client.runtime, TEXT) as stream:
            await stream.read(Hello)
            keys.write_text(KeysDocument(keys=(ADMIN,)).model_dump_json())
            for number in range(2000):
                stream.ask(number, product_id="a", k=1)
                if "unauthorized" in codes(await stream.answers(1)).values():
                    break
                await asyncio.sleep(0.02)
            end = await stream.end()
            assert end.problem is not None
            assert (end.reason, end.problem.code) == ("refused", "unauthorized")

    client.run(talk())


def test_streams_are_bounded_in_all_and_for_each_caller(small: Client) -> None:
    async def talk() -> None:
        streams = Streams(small.runtime)
        async with duplex(streams) as one, duplex(streams), duplex(streams) as third:
            await one.read(Hello)
            refused = await third.end()
            assert refused.problem is not None
            assert refused.problem.code == "too_many_streams"
            async with duplex(streams, address="192.0.2.2") as other, duplex(streams, address="192.0.2.3") as last:
                await other.read(Hello)
                assert (await last.end()).reason == "refused"
            one.leave()
            assert (await one.end()).reason == "left"
            async with duplex(streams) as again:
                await again.read(Hello)
        await asyncio.sleep(0)
        assert streams.count == 0

    small.run(talk())


def test_a_stream_stays_on_a_pinned_snapshot_through_a_swap(shop: Shop, small: Client) -> None:
    first = small.loaded.manifest.id

    async def talk() -> None:
        async with duplex(small.runtime) as stream, duplex(small.runtime) as other:
            await stream.read(Hello)
            await other.read(Hello)
            stream.say(Pin("not there"))
            refused = await stream.read(Snapshot)
            assert refused.problem is not None
            assert (refused.pinned, refused.problem.problem.code) == (None, "snapshot_not_held")
            stream.say(Pin(first))
            assert await stream.read(Snapshot) == Snapshot(first, first)
            second = await asyncio.to_thread(shop.publish, 12, first_seed=100)
            assert await stream.read(Snapshot) == Snapshot(second.id, first)
            assert await other.read(Snapshot) == Snapshot(second.id, None)
            assert await asked(stream) == first
            assert await asked(other) == second.id
            stream.ask("named", product_id="a", k=1, snapshot=second.id)
            assert codes(await stream.answers(1)) == {"named": "hits"}
            stream.say(Pin(None))
            assert await stream.read(Snapshot) == Snapshot(second.id, None)
            assert await asked(stream) == second.id
            assert [one.manifest.id for one in small.runtime.follower.loaded] == [second.id]

    async def asked(stream: Any) -> str:
        stream.ask("q", product_id="a", k=1)
        answer = (await stream.answers(1))["q"]
        assert isinstance(answer, Hits)
        return answer.answer.snapshot

    small.run(talk())


def test_a_pin_ends_with_the_second_swap(shop: Shop, small: Client) -> None:
    first = small.loaded.manifest.id

    async def talk() -> None:
        async with duplex(small.runtime) as stream:
            await stream.read(Hello)
            stream.say(Pin(first))
            await stream.read(Snapshot)
            for seed in (100, 200):
                await asyncio.to_thread(shop.publish, 12, first_seed=seed)
                await stream.read(Snapshot)
            stream.ask("q", product_id="a", k=1)
            assert codes(await stream.answers(1)) == {"q": "snapshot_not_held"}
            assert len(small.runtime.follower.loaded) == 1

    small.run(talk())


def test_goodbye_before_a_stop(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(go: threading.Event) -> None:
        streams = Streams(client.runtime)
        async with duplex(streams) as stream:
            await stream.read(Hello)
            stream.ask("taken", image=picture(840))
            await asyncio.sleep(0.1)
            streams.stop()
            assert (await stream.read(Goaway)).finish_within == 8.0
            stream.ask("late", product_id="a")
            assert codes(await stream.answers(1)) == {"late": "stopping"}
            go.set()
            assert codes(await stream.answers(1)) == {"taken": "hits"}
            assert (await stream.end()).reason == "stopping"
        async with duplex(streams) as late:
            assert (await late.end()).reason == "refused"

    with held_encoder(client, monkeypatch) as go:
        client.run(talk(go))


def test_goodbye_when_its_time_is_up(client: Client) -> None:
    async def talk() -> None:
        async with duplex(client.runtime, seconds=0.2) as stream:
            await stream.read(Hello)
            await stream.read(Goaway)
            stream.ask("late", product_id="a")
            assert codes(await stream.answers(1)) == {"late": "stopping"}
            assert (await stream.end()).reason == "stopping"

    client.run(talk())


def test_a_silent_stream_ends(shop: Shop, serve: Serve) -> None:
    shop.publish(24)
    client = serve(stream={"idle_seconds": 0.1})

    async def talk() -> None:
        async with duplex(client.runtime) as stream:
            end = await stream.end()
            assert end.problem is not None
            assert (end.reason, end.problem.code) == ("idle", "stream_idle")

    client.run(talk())


def test_who_leaves_takes_everything_along(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with duplex(client.runtime) as stream:
            await stream.read(Hello)
            stream.ask(1, image=picture(850))
            await asyncio.sleep(0.05)
            stream.leave()
            assert (await stream.end()).reason == "left"
            assert client.runtime.bodies.held == 0

    with held_encoder(client, monkeypatch):
        client.run(talk())


def test_items_are_measured_one_by_one(client: Client) -> None:
    async def talk() -> None:
        async with duplex(client.runtime) as stream:
            await stream.read(Hello)
            stream.ask(1, product_id="a")
            stream.ask(2, product_id="none such")
            await stream.answers(2)
            stream.say(None)
            await stream.end()

    before = client.get("/metrics").text
    client.run(talk())
    after = client.get("/metrics").text
    labels = 'gateway="websocket",method="query",route="/v1/stream",status="{}"'

    def counted(text: str, status: int) -> float:
        name = f"lookalike_request_seconds_count{{{labels.format(status)}}} "
        return float(text.partition(name)[2].partition("\n")[0] or 0)

    for status in (200, 404):
        assert counted(after, status) == counted(before, status) + 1
    assert 'lookalike_streams{gateway="websocket"} 0.0\n' in after


def test_what_a_query_holds_is_counted_until_it_is_answered(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(go: threading.Event) -> None:
        limit = client.runtime.settings.limits.bodies_bytes
        async with duplex(client.runtime) as stream:
            await stream.read(Hello)
            stream.say(Ask(1, {"image": picture(860)}, size=limit // 4))
            stream.say(Ask(2, {"image": picture(861)}, size=limit // 4))
            assert codes(await stream.answers(1)) == {2: "overloaded"}
            assert client.runtime.bodies.held == limit // 4
            go.set()
            assert codes(await stream.answers(1)) == {1: "hits"}

    with held_encoder(client, monkeypatch) as go:
        client.run(talk(go))
