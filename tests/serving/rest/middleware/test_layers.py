"""The ASGI layers on their own: ids, limits, deadlines, callers who hang up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike.serving.rest.middleware.limits import BodyLimit, Deadline
from lookalike.serving.rest.middleware.tracing import Tracing
from lookalike.serving.rest.requests import request_context
from lookalike.serving.telemetry.metrics import Metrics


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": request_context(scope).id.encode()})


async def break_down(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("a bug that names /etc/secret")


async def dawdle(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(20)


async def stream_slowly(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(3):
        await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def ask(app: ASGIApp, method: str = "GET", **more: Any) -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, "/", **more)

    return asyncio.run(main())


@pytest.mark.parametrize("given", ["abc-123", "A" * 128, "trace:0.1/2=+@_"])
def test_a_sane_request_id_is_kept(given: str) -> None:
    response = ask(Tracing(answer, metrics=Metrics()), headers={"X-Request-ID": given})
    assert response.headers["x-request-id"] == response.text == given


@pytest.mark.parametrize("given", ["", "a b", "A" * 129, "<script>", "a\tb"])
def test_any_other_is_replaced(given: str) -> None:
    response = ask(Tracing(answer, metrics=Metrics()), headers={"X-Request-ID": given})
    assert len(response.headers["x-request-id"]) == 32
    assert response.headers["x-request-id"] == response.text


def test_a_bug_is_a_problem_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    response = ask(Tracing(break_down, metrics=metrics), headers={"X-Request-ID": "mine"})
    assert (response.status_code, response.json()["code"], response.json()["request_id"]) == (500, "internal", "mine")
    assert "secret" not in response.text
    assert "request mine failed" in caplog.text
    assert b'status="500"' in metrics.render()


def test_a_declared_body_is_refused_before_it_is_read() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the application must not see it")

    for size, header in ((101, None), (2**40, "close")):
        sent = talk(BodyLimit(never, max_bytes=100), [], headers=[(b"content-length", str(size).encode())])
        assert sent[0]["status"] == 413
        assert dict(sent[0]["headers"]).get(b"connection", b"").decode() == (header or "")


@pytest.mark.parametrize("declared", [b"", b"abc", b"-5", "²".encode("latin-1")])
def test_a_nonsense_length_does_not_help(declared: bytes) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"x" * 60, "more_body": True}] * 2

    async def catches(scope: Scope, receive: Receive, send: Send) -> None:
        from lookalike.serving.errors import ProblemError
        from lookalike.serving.rest.problems import respond

        try:
            await answer(scope, receive, send)
        except ProblemError as problem:
            await respond(scope, problem)(scope, receive, send)

    sent = talk(BodyLimit(catches, max_bytes=100), messages, headers=[(b"content-length", declared)])
    assert sent[0]["status"] == 413


def test_a_slow_answer_is_cut() -> None:
    start = time.monotonic()
    response = ask(Deadline(dawdle, seconds=0.1), "POST", content=b"x")
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert time.monotonic() - start < 15


def test_a_slow_body_is_cut() -> None:
    async def body() -> Any:
        yield b"x"
        await asyncio.sleep(5)
        yield b"x"

    response = ask(Deadline(dawdle, seconds=0.1), "POST", content=body())
    assert (response.status_code, response.json()["code"]) == (408, "request_timeout")


def test_a_slow_reader_is_not_cut() -> None:
    response = ask(Deadline(stream_slowly, seconds=0.15))
    assert (response.status_code, response.text) == (200, "xxx")


def test_a_timeout_of_the_application_itself_is_no_deadline() -> None:
    async def times_out(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        talk(Deadline(times_out, seconds=5), [])


def test_work_for_a_caller_who_left_is_dropped() -> None:
    dropped = []

    async def works(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await dawdle(scope, receive, send)
        except asyncio.CancelledError:
            dropped.append(True)
            raise

    start = time.monotonic()
    sent = talk(Deadline(works, seconds=20), [{"type": "http.request", "body": b"x"}, {"type": "http.disconnect"}])
    assert (sent, dropped) == ([], [True])
    assert time.monotonic() - start < 15


def test_nobody_watches_a_caller_who_is_answered_at_once() -> None:
    tasks = []

    async def answers_at_once(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(scope, receive, send)
        tasks.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0)
        tasks.append(len(asyncio.all_tasks()))

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(0)
        tasks.append(len(asyncio.all_tasks()))
        await answer(scope, receive, send)

    talk(Deadline(answers_at_once, seconds=5), [{"type": "http.request", "body": b"x"}])
    assert tasks == [1, 1]
    sent = talk(Deadline(waits, seconds=5), [{"type": "http.request", "body": b"x"}, {"type": "http.disconnect"}])
    assert (sent, tasks) == ([], [1, 1, 2])


def test_being_cancelled_from_outside_stays_cancelled() -> None:
    async def main() -> None:
        task = asyncio.create_task(exchange(Deadline(dawdle, seconds=5), [{"type": "http.request", "body": b""}]))
        await asyncio.sleep(0.05)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_other_protocols_pass() -> None:
    seen = []

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    layers: list[Callable[[ASGIApp], ASGIApp]] = [
        lambda app: BodyLimit(app, max_bytes=1),
        lambda app: Deadline(app, seconds=1),
        lambda app: Tracing(app, metrics=Metrics()),
    ]
    for layer in layers:
        asyncio.run(_call(layer(lifespan), {"type": "lifespan"}))
    assert seen == ["lifespan"] * 3


def talk(app: ASGIApp, messages: list[Message], headers: list[tuple[bytes, bytes]] | None = None) -> list[Message]:
    return asyncio.run(exchange(app, messages, headers))


async def exchange(
    app: ASGIApp, messages: list[Message], headers: list[tuple[bytes, bytes]] | None = None
) -> list[Message]:
    """Speak ASGI by hand: give these messages, then silence; return what the application sent."""
    waiting, sent = list(messages), []

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.sleep(60)
        raise AssertionError("nobody waits so long")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers or []}
    await app(scope, receive, send)
    return sent


async def _call(app: ASGIApp, scope: Scope) -> None:
    nothing: Callable[..., Awaitable[Any]] = _nothing
    await app(scope, nothing, nothing)


async def _nothing(*_: Any) -> Message:
    return {"type": "lifespan.startup"}
