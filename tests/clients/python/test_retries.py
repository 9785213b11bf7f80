"""What is tried again, when, and for how long: with replies that a test writes."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from datetime import UTC, datetime

import httpx2
import pytest

from lookalike_client import (
    AsyncClient,
    Client,
    ConnectionFailedError,
    DeadlineExceededError,
    OverloadedError,
    ProblemError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    UnexpectedReplyError,
)
from lookalike_client.errors import problem
from lookalike_client.replies import read_retry_after

QUICK = RetryPolicy(first_seconds=0.001)
OK: dict[str, list[object]] = {"snapshots": []}
Step = httpx2.Response | Exception


class Script:
    """A server that gives these replies, one after the other, and then empty lists of snapshots."""

    def __init__(self, *steps: Callable[[], Step]) -> None:
        self.requests: list[httpx2.Request] = []
        self._steps = list(steps)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        step = self._steps.pop(0)() if self._steps else httpx2.Response(200, json=OK)
        if isinstance(step, Exception):
            raise step
        return step

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        return self(request)


def refusal(code: str, status: int, **headers: str) -> Callable[[], Step]:
    body = {"code": code, "status": status, "detail": "No.", "request_id": "r1"}
    return lambda: httpx2.Response(status, json=body, headers=headers)


def ask(script: Script, policy: RetryPolicy = QUICK, timeout: float = 20) -> object:
    transport = httpx2.MockTransport(script)
    with Client("http://shop.example", retry=policy, timeout=timeout, transport=transport) as client:
        return client.snapshots()


async def ask_async(script: Script) -> object:
    transport = httpx2.MockTransport(script.answer)
    async with AsyncClient("http://shop.example", retry=QUICK, transport=transport) as client:
        return await client.snapshots()


TRANSIENT = [
    refusal("overloaded", 429),
    refusal("rate_limited", 429, **{"Retry-After": "0"}),
    refusal("image_unreadable", 502),
    refusal("not_ready", 503),
    refusal("deadline_exceeded", 504),
    lambda: httpx2.Response(502, text="<h1>Bad gateway</h1>"),
    lambda: httpx2.ConnectError("refused"),
    lambda: httpx2.ConnectTimeout("no answer"),
    lambda: httpx2.ReadError("reset"),
    lambda: httpx2.RemoteProtocolError("hung up"),
]


@pytest.mark.parametrize("step", TRANSIENT)
def test_what_may_pass_is_tried_again(step: Callable[[], Step]) -> None:
    script = Script(step, step)
    assert ask(script) == ()
    assert len(script.requests) == 3
    script = Script(step, step)
    assert asyncio.run(ask_async(script)) == ()
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (refusal("bad_k", 422), ProblemError),
        (refusal("internal", 500), ServerError),
        (refusal("a_code_of_next_year", 418), ProblemError),
        (lambda: httpx2.Response(200, text="hello"), UnexpectedReplyError),
        (lambda: httpx2.Response(200, json={"snapshots": [{}]}), UnexpectedReplyError),
        (lambda: httpx2.Response(200, json={"snapshots": 7}), UnexpectedReplyError),
    ],
)
def test_what_stays_wrong_is_asked_once(step: Callable[[], Step], kind: type[Exception]) -> None:
    for run in (ask, lambda script: asyncio.run(ask_async(script))):
        script = Script(step)
        with pytest.raises(kind):
            run(script)
        assert len(script.requests) == 1


def test_tries_are_counted() -> None:
    script = Script(*[lambda: httpx2.ConnectError("refused")] * 9)
    with pytest.raises(ConnectionFailedError, match=r"http://shop\.example does not answer: refused"):
        ask(script, RetryPolicy(retries=2, first_seconds=0.001))
    assert len(script.requests) == 3


def test_a_wait_that_leaves_no_time_is_not_begun() -> None:
    script = Script(refusal("rate_limited", 429, **{"Retry-After": "3600"}))
    with pytest.raises(RateLimitedError) as caught:
        ask(script)
    assert (caught.value.retry_after, caught.value.request_id, len(script.requests)) == (3600, "r1", 1)


def test_without_a_count_the_deadline_ends_it() -> None:
    script = Script(*[refusal("overloaded", 429)] * 1000)
    with pytest.raises((OverloadedError, DeadlineExceededError)):  # the time may run out while it asks
        ask(script, RetryPolicy(None, first_seconds=0.01, most_seconds=0.02), timeout=0.5)
    assert 1 < len(script.requests) < 100


def test_a_problem_can_go_to_another_process() -> None:
    busy = problem("overloaded", "Busy.", status=429, request_id="r1", retry_after=2)
    found = pickle.loads(pickle.dumps(busy))
    assert type(found) is OverloadedError
    assert (str(found), vars(found)) == (str(busy), vars(busy))


def test_delays_grow_and_are_mixed() -> None:
    policy, failure = RetryPolicy(retries=20), ConnectionFailedError("away")
    assert [policy.delay(failed, failure, 99, chance=1) for failed in (1, 2, 3, 6, 7, 20)] == [
        0.1, 0.2, 0.4, 3.2, 5.0, 5.0,
    ]  # fmt: skip
    assert policy.delay(3, failure, 99, chance=0) == 0.2
    assert policy.delay(21, failure, 99) is None
    assert len({policy.delay(3, failure, 99) for _ in range(20)}) > 10


def test_retry_after_is_kept_to() -> None:
    busy = problem("overloaded", "Busy.", status=429, retry_after=2)
    assert RetryPolicy().delay(1, busy, 99, chance=0) == 2
    assert RetryPolicy().delay(1, busy, 99, chance=1) == pytest.approx(2.1)
    assert RetryPolicy().delay(1, busy, 1.5) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("Sun, 29 Nov 2026 08:00:10 GMT", 10),
        ("Sun, 29 Nov 2026 07:00:00 GMT", 0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        (None, None),
    ],
)
def test_retry_after_in_all_its_forms(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, datetime(2026, 11, 29, 8, tzinfo=UTC)) == seconds
