"""Access, as real server processes grant it: over sockets, on two ports, with several workers."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from lookalike.infra.demo.processes import free_port
from lookalike.serving.access.keys import add_key, create_key, remove_key
from lookalike.serving.context import AccessScope
from tests.support.client import wait_for
from tests.support.oidc import AUDIENCE, issuer, rsa_key
from tests.support.processes import Server, server
from tests.support.shop import Shop, picture

pytestmark = pytest.mark.services

BODY = 30_000_000


class Keys:
    """A keys file, and a header for each key in it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "keys.json"
        self.setting = {"LOOKALIKE_ACCESS__KEYS_FILE": str(self.file)}
        self.search, self.admin = self.add("search"), self.add("admin")

    def add(self, scope: str) -> dict[str, str]:
        key, text = create_key(scope, [AccessScope(scope)])
        add_key(self.file, key)
        return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def head(size: int, *more: str) -> bytes:
    lines = ["POST /v1/search HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {size}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def read_answer(connection: socket.socket) -> tuple[bytes, dict[str, Any]]:
    """Return status line and problem of an answer that closes its connection."""
    answer = b""
    while part := connection.recv(65536):
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.partition(b"\r\n")[0], json.loads(body)


def bytes_read_by(running: Server) -> int:
    """Return what the process has read, from files and sockets, since it began."""
    found = Path(f"/proc/{running.process.pid}/io").read_text()
    return int(found.split("rchar: ")[1].split("\n")[0])


def test_a_large_body_without_a_key_is_refused_before_it_is_read(shop: Shop, tmp_path: Path, keys: Keys) -> None:
    shop.publish(8)
    with server(tmp_path, **keys.setting) as running:
        running.wait(lambda state: state["ready"])
        with socket.create_connection(("127.0.0.1", running.port), 10) as connection:
            connection.sendall(head(BODY))  # and not a byte of the body
            start = time.monotonic()
            status, problem = read_answer(connection)
            assert (status, problem["code"]) == (b"HTTP/1.1 401 Unauthorized", "unauthorized")
            assert time.monotonic() - start < 9  # in ten it would be told that its body is late
            sent = 0
            with suppress(ConnectionError):  # it has hung up
                for _ in range(30):
                    connection.sendall(b"x" * 1_000_000)
                    sent += 1_000_000
                    time.sleep(0.02)
            assert sent < 5_000_000
        with_key = keys.search["Authorization"]
        with socket.create_connection(("127.0.0.1", running.port), 10) as connection:
            connection.sendall(head(BODY, f"Authorization: {with_key}", "Connection: close") + b"x" * 100)
            assert connection.recv(64).startswith(b"HTTP/1.1 413")  # for who may ask, it is only too large
        before = bytes_read_by(running)
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", running.port), 10) as connection, suppress(ConnectionError):
                connection.sendall(head(BODY) + b"x" * BODY)
        running.wait(lambda state: state["ready"])
        assert bytes_read_by(running) - before < BODY  # five of them sent all they could: 150 MB


def test_an_honest_mistake_is_told_even_to_who_sends_first_and_reads_then(
    shop: Shop, tmp_path: Path, keys: Keys
) -> None:
    shop.publish(8)
    with server(tmp_path, **keys.setting) as running:
        running.wait(lambda state: state["ready"])
        with httpx.Client(base_url=running.url) as client:
            for _ in range(3):
                reply = client.post("/v1/search", content=b"x" * 5_000_000)
                assert (reply.status_code, reply.json()["code"]) == (401, "unauthorized")
            reply = client.post("/v1/search", files={"image": picture(1)}, headers=keys.search)
            assert reply.status_code == 200


def test_keys_are_rotated_without_a_restart(shop: Shop, tmp_path: Path, keys: Keys) -> None:
    shop.publish(8)
    with server(tmp_path, LOOKALIKE_WORKERS="2", **keys.setting) as running:
        running.wait(lambda state: state["ready"])

        def statuses(headers: dict[str, str]) -> set[int]:
            return {running.fresh("/v1/search", headers, product_id="a").status_code for _ in range(12)}

        wait_for(lambda: statuses(keys.search), lambda found: found == {200}, 30)
        old = keys.search["Authorization"].split("_")[1]
        new = keys.add("search")
        wait_for(lambda: statuses(new), lambda found: found == {200})
        assert statuses(keys.search) == {200}
        remove_key(keys.file, old)
        wait_for(lambda: statuses(keys.search), lambda found: found == {401})
        keys.file.write_text("{")
        wait_for(lambda: running.log, lambda log: "keys known before stay valid" in log)
        assert statuses(new) == {200}
        audited = [json.loads(line) for line in running.log.splitlines() if '"lookalike.audit"' in line]
        assert (old, "unknown_key") in {(line["who"], line["reason"]) for line in audited}
        for headers in (keys.search, keys.admin, new):
            assert headers["Authorization"].split("_", 2)[2] not in running.log
        assert running.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_administration_has_a_port_of_its_own(shop: Shop, tmp_path: Path, keys: Keys, workers: str) -> None:
    first = shop.publish(8)
    port = free_port()
    settings = {"LOOKALIKE_ADMIN_PORT": str(port), "LOOKALIKE_WORKERS": workers, "LOOKALIKE_POLL_SECONDS": "3600"}
    with server(tmp_path, **keys.setting, **settings) as running:
        running.wait(lambda state: state["ready"])
        admin = f"http://127.0.0.1:{port}"
        swapped = f"lookalike_swaps_total {workers}.0"
        wait_for(lambda: httpx.get(f"{admin}/metrics").text, lambda text: swapped in text, 30)
        assert httpx.get(f"{admin}/readyz").json()["store"]["detail"]  # for operators: all of it
        for url in (f"{running.url}/metrics", f"{running.url}/v1/admin/reload", f"{admin}/v1/products", admin):
            assert httpx.get(url, headers=keys.admin | {"Host": f"x:{port}"}).status_code == 404, url
        assert httpx.post(f"{admin}/v1/admin/reload").status_code == 401
        assert httpx.post(f"{admin}/v1/admin/reload", headers=keys.search).status_code == 403
        second = shop.publish(9)
        reply = httpx.post(f"{admin}/v1/admin/reload", headers=keys.admin)
        assert (reply.status_code, reply.json()) == (202, {"snapshot": first.id})
        swapped = f"lookalike_swaps_total {2 * int(workers)}.0"
        wait_for(lambda: httpx.get(f"{admin}/metrics").text, lambda text: swapped in text, 30)
        for _ in range(6):
            found = running.fresh("/v1/search", keys.search, product_id="a").json()
            assert found["snapshot"] == second.id
        assert running.stop() == 0
    assert "Traceback" not in running.log


def test_tokens_of_an_issuer(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    with issuer() as oidc:
        oidc.add("one", rsa_key())
        settings = {"LOOKALIKE_ACCESS__JWT_ISSUER": oidc.url, "LOOKALIKE_ACCESS__JWT_AUDIENCE": AUDIENCE}
        with server(tmp_path, **settings) as running:
            running.wait(lambda state: state["ready"])

            def ask(**claims: Any) -> int:
                headers = {"Authorization": f"Bearer {oidc.token('one', **claims)}"}
                return httpx.post(f"{running.url}/v1/search", json={"product_id": "a"}, headers=headers).status_code

            assert ask(scope="search") == 200
            assert ask(scope="admin") == 403
            assert ask(scope="search", aud="another") == 401


def test_an_open_door_is_said_loudly(shop: Shop, tmp_path: Path, keys: Keys) -> None:
    with server(tmp_path, LOOKALIKE_HOST="0.0.0.0") as running:
        wait_for(lambda: running.log, lambda log: "EVERYBODY who reaches 0.0.0.0" in log)
    for settings in ({}, {"LOOKALIKE_HOST": "0.0.0.0", **keys.setting}):
        with server(tmp_path, **settings) as running:
            wait_for(lambda running=running: running.log, lambda log: "startup complete" in log, 30)  # type: ignore[misc]
            assert "EVERYBODY" not in running.log


def test_no_start_without_the_keys(shop: Shop, tmp_path: Path) -> None:
    with server(tmp_path, LOOKALIKE_ACCESS__KEYS_FILE=str(tmp_path / "nowhere.json")) as running:
        assert running.process.wait(30) != 0
    assert "nowhere.json cannot be read" in running.log


@pytest.mark.parametrize("trusted", ["", "127.0.0.0/8"])
def test_forwarded_addresses_are_believed_from_trusted_proxies_only(shop: Shop, tmp_path: Path, trusted: str) -> None:
    settings = {"LOOKALIKE_RATES__PER_ADDRESS": "1", "LOOKALIKE_RATES__BURST": "1"}
    with server(tmp_path, LOOKALIKE_TRUSTED_PROXIES=trusted, **settings) as running:
        wait_for(running.state, lambda state: "store" in state, 30)

        def ask(address: str) -> int:
            return httpx.get(running.url, headers={"X-Forwarded-For": address}).status_code

        assert ask("198.51.100.1") == 200
        assert ask("198.51.100.1") == 429
        assert ask("198.51.100.2") == (200 if trusted else 429)


def test_json_lines_of_a_whole_server(shop: Shop, tmp_path: Path) -> None:
    manifest = shop.publish(8)
    with server(tmp_path, LOOKALIKE_LOG_FORMAT="json", LOOKALIKE_ACCESS_LOG="true") as running:
        running.wait(lambda state: state["ready"])
        headers = {"X-Request-ID": "mine"}
        httpx.post(f"{running.url}/v1/search", json={"product_id": "a"}, headers=headers).raise_for_status()
        assert running.stop() == 0
    lines = [json.loads(line) for line in running.log.splitlines()]
    mine = next(line for line in lines if line.get("request_id") == "mine")
    assert (mine["route"], mine["status"], mine["snapshot"]) == ("/v1/search", 200, manifest.id)
    assert {"uvicorn.error", "lookalike.serving.live.follower", "lookalike.access"} <= {
        line["logger"] for line in lines
    }
