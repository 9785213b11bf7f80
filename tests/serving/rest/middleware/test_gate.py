"""The gate before an application that must not be reached, let alone read a body, by whoever may not ask."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from lookalike.serving.access.admission import Admission, Policy
from lookalike.serving.access.audit import REFUSALS_AT_ONCE, REFUSALS_PER_MINUTE, Audit
from lookalike.serving.access.authenticator import Authenticator
from lookalike.serving.access.keys import add_key, create_key
from lookalike.serving.access.rates import RateLimits
from lookalike.serving.context import AccessScope, Caller
from lookalike.serving.rest.middleware.gate import Gate
from lookalike.serving.rest.requests import request_context
from lookalike.serving.settings import Access, Rates
from lookalike.serving.telemetry import AUDIT
from lookalike.serving.telemetry.metrics import Metrics

MAX_BYTES = 1000


class Shop:
    """A gate, what lies behind it, and keys to it."""

    def __init__(self, file: Path, *, required: bool = True, rates: Rates | None = None) -> None:
        self.metrics = Metrics()
        self.keys = {}
        for name, scopes in {"search": ["search"], "admin": ["admin"], "both": ["admin", "search"]}.items():
            key, self.keys[name] = create_key(name, [AccessScope(scope) for scope in scopes])
            add_key(file, key)
        access = Access(keys_file=file if required else None)
        self.reached: list[Caller] = []
        admission = Admission(
            Policy(required=required),
            Authenticator(access, self.metrics),
            RateLimits(rates or Rates()),
            Audit(self.metrics),
            self.metrics,
            seconds=10,
        )
        self.gate = Gate(self._behind, admission=admission, max_body_bytes=MAX_BYTES)

    async def _behind(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached.append(request_context(scope).caller)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def ask(
        self,
        path: str = "/v1/search",
        *,
        method: str = "POST",
        key: str = "",
        client: str = "192.0.2.1",
        headers: dict[str, str] | None = None,
        kind: str = "http",
    ) -> Answer:
        given = {**({"authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        scope = {
            "type": kind,
            "method": method,
            "path": path,
            "root_path": "",
            "client": (client, 1),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()],
        }
        return Answer(asyncio.run(_exchange(self.gate, scope)))

    def refused(self, reason: str) -> float:
        wanted = f'lookalike_refused_total{{reason="{reason}"}}'
        found = [line for line in self.metrics.render().decode().splitlines() if line.startswith(wanted)]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


class Answer:
    def __init__(self, sent: list[Message]) -> None:
        self.sent = sent
        self.status = sent[0].get("status")
        self.headers = {name.decode(): value.decode() for name, value in sent[0].get("headers", [])}
        body = sent[1]["body"] if len(sent) > 1 else b"{}"
        self.problem: dict[str, Any] = json.loads(body)
        self.code = self.problem.get("code")


async def _exchange(gate: Gate, scope: Scope) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing of the body may be asked for")

    async def send(message: Message) -> None:
        sent.append(message)

    await gate(scope, receive, send)
    return sent


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "keys.json")


def test_without_a_key_nothing_is_read(shop: Shop) -> None:
    answer = shop.ask(headers={"content-length": "30000000"})
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == 'Bearer realm="lookalike"'
    assert answer.headers["content-type"] == "application/problem+json"
    assert not shop.reached
    assert shop.refused("no_credentials") == 1


@pytest.mark.parametrize("header", ["authorization", "Authorization", "x-api-key"])
def test_a_key_opens(shop: Shop, header: str) -> None:
    value = shop.keys["search"] if header == "x-api-key" else f"bEaReR  {shop.keys['search']} "
    assert shop.ask(headers={header: value}).status == 200
    assert (shop.reached[0].kind, shop.reached[0].name) == ("key", "search")


def test_wrong_keys(shop: Shop) -> None:
    good = shop.keys["search"]
    stranger = create_key("stranger", [AccessScope.ADMIN])[1]
    tries = {"malformed_key": "hunter2", "unknown_key": stranger, "wrong_secret": good[:-4] + "AAAA"}
    for reason, key in tries.items():
        answer = shop.ask(key=key)
        assert (answer.status, answer.code) == (401, "unauthorized")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert shop.refused(reason) == 1
    details = {shop.ask(key=key).problem["detail"] for key in tries.values()}
    assert len(details) == 1  # nobody learns which ids there are
    assert not shop.reached


def test_two_keys_are_none(shop: Shop) -> None:
    answer = shop.ask(key=shop.keys["search"], headers={"x-api-key": shop.keys["admin"]})
    assert (answer.code, shop.refused("several_credentials")) == ("unauthorized", 1)


def test_a_token_where_no_issuer_is_set(shop: Shop) -> None:
    assert shop.ask(key="a.b.c").code == "unauthorized"


def test_other_schemes_are_for_others(shop: Shop) -> None:
    headers = {"authorization": "Basic dXNlcjpwYXNz", "x-api-key": shop.keys["search"]}
    assert shop.ask(headers=headers).status == 200
    assert shop.ask(headers={"authorization": "Basic dXNlcjpwYXNz"}).code == "unauthorized"


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/v1/admin/reload", "search", 403),
        ("/v1/admin/reload", "admin", 200),
        ("/v1/admin/reload", "both", 200),
        ("/v1/admin/reload/", "search", 403),
        ("/v1/admin", "search", 403),
        ("/metrics", "search", 403),
        ("/metrics", "admin", 200),
        ("/v1/search", "admin", 403),
        ("/v1/search", "both", 200),
        ("/v1/anything", "search", 200),
    ],
)
def test_scopes(shop: Shop, path: str, key: str, status: int) -> None:
    answer = shop.ask(path, key=shop.keys[key])
    assert answer.status == status
    if status == 403:
        assert answer.code == "forbidden"
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "BREW"])
def test_no_method_is_a_way_around(shop: Shop, method: str) -> None:
    assert shop.ask("/v1/admin/reload", method=method).status == 401
    assert shop.ask("/v1/search", method=method).status == 401
    assert not shop.reached


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/docs", "/openapi.json", "/livez", "/readyz"])
def test_what_is_open(shop: Shop, path: str) -> None:
    assert shop.ask(path, method="GET").status == 200
    assert shop.ask(path, method="GET", key="stale").status == 200


def test_headers_that_name_another_address_change_nothing(shop: Shop) -> None:
    odd = {"host": "x/livez?", "x-original-url": "/livez", "x-rewrite-url": "/livez", "x-forwarded-prefix": "/livez"}
    assert shop.ask("/v1/search", headers=odd).status == 401


def test_a_websocket_is_refused_before_it_opens(shop: Shop) -> None:
    answer = shop.ask("/v1/stream", kind="websocket")
    assert answer.sent == [{"type": "websocket.close", "code": 1008, "reason": "unauthorized"}]


@pytest.mark.parametrize(
    ("headers", "closes"),
    [
        ({}, False),
        ({"content-length": "1000"}, False),
        ({"content-length": "1001"}, True),
        ({"content-length": "-1"}, True),
        ({"transfer-encoding": "chunked"}, True),
    ],
)
def test_a_body_that_nobody_could_send_closes_the_connection(shop: Shop, headers: dict[str, str], closes: bool) -> None:
    assert (shop.ask(headers=headers).headers.get("connection") == "close") is closes


@pytest.mark.parametrize("path", ["/", "/livez", "/static/app.js"])
def test_what_is_open_is_no_way_to_send_much(shop: Shop, path: str) -> None:
    for headers in ({"content-length": "1001"}, {"transfer-encoding": "chunked"}):
        answer = shop.ask(path, headers=headers)
        assert (answer.status, answer.code, answer.headers["connection"]) == (413, "body_too_large", "close")
    assert not shop.reached


class TestWithoutKeys:
    @pytest.fixture
    def shop(self, tmp_path: Path) -> Shop:
        return Shop(tmp_path / "keys.json", required=False)

    def test_everybody_searches(self, shop: Shop) -> None:
        assert shop.ask().status == 200
        assert shop.ask(key="whatever").status == 200
        assert shop.ask("/metrics").status == 200

    @pytest.mark.parametrize(("client", "status"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.1", 403), ("", 403)])
    def test_administration_is_for_this_machine(self, shop: Shop, client: str, status: int) -> None:
        assert shop.ask("/v1/admin/reload", client=client).status == status
        assert shop.refused("not_local") == (status == 403)

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"host": "127.0.0.1:8000"}, 200), ({"host": "localhost"}, 200), ({"host": "[::1]:8000"}, 200),
            ({"host": "127.0.0.1:8000", "sec-fetch-site": "same-origin"}, 200),
            ({"host": "127.0.0.1:8000", "sec-fetch-site": "cross-site"}, 403),
            ({"host": "127.0.0.1:8000", "sec-fetch-site": "same-site"}, 403),
            ({"host": "evil.example:8000"}, 403), ({"host": "127.0.0.1.evil.example"}, 403), ({"host": "[::1"}, 403),
        ],
    )  # fmt: skip
    def test_a_page_that_reads_says_no_origin(self, shop: Shop, headers: dict[str, str], status: int) -> None:
        """Its browser says from which site it is, or asks for a name that was made to lead here."""
        assert shop.ask("/v1/admin/channels", headers=headers, client="127.0.0.1").status == status

    @pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Origin"])
    def test_neither_a_proxy_nor_a_web_page_is_this_machine(self, shop: Shop, header: str) -> None:
        answer = shop.ask("/v1/admin/reload", client="127.0.0.1", headers={header: "http://evil.example"})
        assert (answer.status, answer.code) == (403, "forbidden")


class TestRates:
    def test_probes_are_never_limited(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path / "keys.json", rates=Rates(per_address=1, burst=1))
        assert {shop.ask("/livez", method="GET").status for _ in range(10)} == {200}

    def test_guessing_is_slowed_down_and_callers_with_keys_are_not(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path / "keys.json", rates=Rates(per_address=1, burst=2))
        assert [shop.ask(key="guess").status for _ in range(4)] == [401, 401, 429, 429]
        limited = shop.ask(key="guess")
        assert (limited.code, shop.refused("address_rate")) == ("rate_limited", 3)
        assert int(limited.headers["retry-after"]) >= 1
        assert shop.ask(key=shop.keys["search"]).status == 200

    def test_a_key_has_its_own_rate(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path / "keys.json", rates=Rates(per_key=1, burst=2))
        assert [shop.ask(key=shop.keys["search"]).status for _ in range(3)] == [200, 200, 429]
        assert shop.ask(key=shop.keys["both"]).status == 200
        assert shop.refused("key_rate") == 1


class TestAudit:
    @pytest.fixture(autouse=True)
    def _listen(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, AUDIT)

    def lines(self, caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
        return [vars(record)["fields"] for record in caplog.records if record.name == AUDIT]

    def test_refusals_are_written_down_without_secrets(self, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
        wrong = shop.keys["search"][:-4] + "AAAA"
        shop.ask("/v1/search\n/forged", key=wrong)
        shop.ask("/v1/admin/reload", key=shop.keys["search"])
        first, second = self.lines(caplog)
        assert first["request_id"]
        assert {**first, "request_id": ""} == {
            "action": "authenticate",
            "result": "refused",
            "from": "192.0.2.1",
            "who": wrong.split("_")[1],
            "reason": "wrong_secret",
            "method": "POST",
            "path": "/v1/search\n/forged",
            "request_id": "",
        }
        assert (second["reason"], second["who"]) == ("missing_scope", shop.keys["search"].split("_")[1])
        assert wrong.split("_", 2)[2] not in str(first)
        assert shop.keys["search"].split("_", 2)[2] not in str(second)

    def test_nobody_fills_a_disk(self, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
        started = time.monotonic()
        for _ in range(300):
            shop.ask(key="guess")
        allowed_since = REFUSALS_PER_MINUTE / 60 * (time.monotonic() - started)
        assert REFUSALS_AT_ONCE <= len(self.lines(caplog)) <= REFUSALS_AT_ONCE + allowed_since + 1
        suppressed = 300 - len(self.lines(caplog))
        assert f"lookalike_audit_suppressed_total {suppressed}.0".encode() in shop.metrics.render()

    def test_paths_are_cut(self, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
        shop.ask("/" + "x" * 10_000)
        assert len(self.lines(caplog)[0]["path"]) == 200


def test_metrics_only_know_reasons_of_the_list(shop: Shop) -> None:
    from lookalike.serving.access.refusals import REASONS

    for key in ("x", "a.b.c", shop.keys["search"]):
        shop.ask("/v1/admin/x", key=key)
    text = shop.metrics.render().decode()
    found = {line.split('"')[1] for line in text.splitlines() if line.startswith("lookalike_refused_total{")}
    assert found
    assert found <= REASONS
