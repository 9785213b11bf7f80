"""The real thing: server processes on a port, asked over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from lookalike.data.snapshots.manifest import Manifest
from lookalike.data.snapshots.store import manifest_key
from tests.support.client import wait_for
from tests.support.processes import server
from tests.support.servers import ROOT
from tests.support.shop import OTHER_ENCODER, Shop, picture, product_ids

pytestmark = pytest.mark.services


class Load:
    """Queries from several threads, each with its own connection; without `pause`, as fast as they are answered."""

    def __init__(
        self,
        url: str,
        ask: Callable[[httpx.Client, int], httpx.Response],
        *,
        threads: int = 4,
        pause: float = 0.0,
    ) -> None:
        self._pause = pause
        self.replies: list[tuple[int, str, str]] = []
        self._url = url
        self._ask = ask
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=20) as client:
            while not self._ends.wait(self._pause):
                number += 1
                try:
                    response = self._ask(client, number)
                    self.replies.append((response.status_code, response.json()["snapshot"], response.text))
                except (httpx.HTTPError, KeyError) as error:
                    self.replies.append((0, "", repr(error)))


def by_picture_or_text(client: httpx.Client, number: int) -> httpx.Response:
    if number % 2:
        return by_picture(client, number)
    return client.post("/v1/search", json={"text": "prodcut", "k": 30, "explain": True})


def by_picture(client: httpx.Client, number: int) -> httpx.Response:
    return client.post("/v1/search", files={"image": ("x.png", picture(number % 10))}, data={"k": "30"})


def test_swaps_under_load(shop: Shop, tmp_path: Path) -> None:
    """No failed query, and each reply from exactly one snapshot: its products, and only its."""
    manifests = [shop.publish(10)]
    sizes = {manifests[0].id: 10}
    with server(tmp_path) as running:
        running.wait(lambda state: state["ready"])
        with Load(running.url, by_picture_or_text) as load:
            for count, encoder in ((20, "fake"), (15, OTHER_ENCODER), (25, "fake"), (12, "fake")):
                manifest = shop.publish(count, encoder=encoder)
                sizes[manifest.id] = count
                running.wait(lambda state, wanted=manifest.id: state["snapshot"] == wanted)  # type: ignore[misc]
                time.sleep(0.3)
    statuses = Counter(status for status, _, _ in load.replies)
    assert set(statuses) == {200}, [reply for reply in load.replies if reply[0] != 200][:3]
    assert {snapshot for _, snapshot, _ in load.replies} == set(sizes)
    for _, snapshot, text in load.replies:
        ids = [hit["id"] for hit in httpx.Response(200, text=text).json()["hits"]]
        assert sorted(ids) == sorted(product_ids(sizes[snapshot])), snapshot


def test_sigterm_finishes_what_was_taken(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    with server(tmp_path) as running:
        running.wait(lambda state: state["ready"])
        with Load(running.url, by_picture) as load:
            wait_for(lambda: len(load.replies), lambda count: count > 20)
            assert running.stop() == 0
    answered = [reply for reply in load.replies if reply[0]]
    assert {status for status, _, _ in answered} == {200}
    assert "Application shutdown complete" in running.log
    assert "Traceback" not in running.log


def test_workers_that_start_late_are_waited_for(shop: Shop, tmp_path: Path) -> None:
    """uvicorn ends workers that do not answer within 5 seconds, and a busy machine may need longer."""
    shop.publish(10)
    late = "import sys, time\nif any('spawn_main' in one for one in sys.orig_argv): time.sleep(6)\n"
    (tmp_path / "sitecustomize.py").write_text(late)
    with server(tmp_path, LOOKALIKE_WORKERS="2", PYTHONPATH=f"{tmp_path}:{ROOT}") as running:
        running.wait(lambda state: state["ready"])
        killed, other = children(running.process.pid, "spawn_main")
        os.kill(killed, signal.SIGKILL)
        wait_for(
            lambda: set(children(running.process.pid, "spawn_main")),
            lambda now: len(now) == 2 and killed not in now,
            30,
        )
        assert other in children(running.process.pid, "spawn_main")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_leaves_nothing_behind(shop: Shop, tmp_path: Path, workers: str) -> None:
    shop.publish(8)
    with server(tmp_path, LOOKALIKE_WORKERS=workers) as running:
        running.wait(lambda state: state["ready"])
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(30) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(running.url)
    assert "Traceback" not in running.log


def test_several_workers_count_together_and_swap(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    with server(tmp_path, LOOKALIKE_WORKERS="2") as running:
        running.wait(lambda state: state["ready"])
        wait_for(lambda: httpx.get(f"{running.url}/metrics").text, lambda text: "lookalike_swaps_total 2.0" in text, 30)
        with Load(running.url, by_picture) as load:
            second = shop.publish(9)
            wait_for(
                lambda: httpx.get(f"{running.url}/metrics").text, lambda text: "lookalike_swaps_total 4.0" in text, 30
            )
        assert {status for status, _, _ in load.replies} == {200}
        for _ in range(10):
            reply = httpx.post(f"{running.url}/v1/search", json={"product_id": "a"}).json()
            assert reply["snapshot"] == second.id
        text = httpx.get(f"{running.url}/metrics").text
        counted = [line for line in text.splitlines() if line.startswith("lookalike_request_seconds_count")]
        searches = [line for line in counted if 'route="/v1/search",status="200"' in line]
        assert float(searches[0].rsplit(" ", 1)[1]) == len(load.replies) + 10
        assert running.stop() == 0


def test_a_large_body_is_refused_before_it_is_sent(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    with server(tmp_path) as running:
        running.wait(lambda state: state["ready"])
        head = "POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for size, expected in ((30_000_000, b"413"), (30_000_000_000, b"413")):
            with socket.create_connection(("127.0.0.1", running.port), 10) as connection:
                connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode() + b"x" * 1000)
                assert connection.recv(4096).startswith(b"HTTP/1.1 " + expected)
        with socket.create_connection(("127.0.0.1", running.port), 10) as connection:
            connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            with suppress(ConnectionError):  # it may hang up while we still send
                for _ in range(12):
                    connection.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 413")
        # a client that sends all of it before it reads still gets the answer
        whole = httpx.post(f"{running.url}/v1/search", content=b"x" * 30_000_000, timeout=30)
        assert (whole.status_code, whole.json()["code"]) == (413, "body_too_large")
        assert running.state()["ready"]


def test_head_over_a_connection_that_is_kept(shop: Shop, tmp_path: Path) -> None:
    """A body that came all the same would be read as the next answer."""
    shop.publish(8)
    with server(tmp_path) as running:
        running.wait(lambda state: state["ready"])
        with httpx.Client(base_url=running.url) as client:
            for path in ("/", "/livez", "/readyz", "/static/app.js", "/v1/products/a/image", "/v1/products"):
                assert client.head(path).status_code == 200
                assert client.get(path).status_code == 200
            assert client.head("/v1/search/batch").status_code == 405
            assert client.head("/nowhere").status_code == 404
            assert client.get("/livez").json() == {"live": True}


def test_it_starts_from_its_cache_and_says_so(shop: Shop, tmp_path: Path) -> None:
    manifest = shop.publish(8)
    with server(tmp_path) as running:
        running.wait(lambda state: state["ready"])
        wait_for(lambda: list((tmp_path / "cache").rglob("last-good.json")), bool)
        assert running.stop() == 0
    (tmp_path / "store").rename(tmp_path / "away")
    with server(tmp_path) as running:
        state = running.wait(lambda state: state["ready"])
        assert state["snapshot"] == manifest.id
        assert state["store"]["state"] != "ok"
        assert httpx.post(f"{running.url}/v1/search", json={"product_id": "a"}).status_code == 200


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "one flipped bit": flipped,
    "truncated": lambda data: data[:-1],
    "deleted": lambda _: None,
    "swapped": lambda _: picture(99),
}


def files_of(manifest: Manifest) -> dict[str, str]:
    """Return the key of every file of a snapshot, by the part it plays; what an encoder shares comes first."""
    parts = {"encoder spec": manifest.encoder.spec, "encoder model": manifest.encoder.model}
    for number, shard in enumerate(manifest.shards):
        parts |= {f"index {number}": shard.index, f"products {number}": shard.products}
    return {**{part: blob.key for part, blob in parts.items()}, "manifest": manifest_key(manifest.id)}


@pytest.mark.slow
def test_every_damage_to_every_file_is_refused_and_no_query_fails(shop: Shop, tmp_path: Path) -> None:
    good, seeds = shop.publish(8), 1000
    store = tmp_path / "store"
    parts = files_of(good)
    with server(tmp_path) as running:
        running.wait(lambda state: state["ready"])
        with Load(running.url, by_picture, threads=1, pause=0.05) as load:
            for part in parts:
                seeds += 100
                bad = shop.build(24, first_seed=seeds, encoder=OTHER_ENCODER)
                file = store / files_of(bad)[part]
                whole = file.read_bytes()
                for name, damage in DAMAGES.items():
                    damaged = damage(whole)
                    file.unlink()
                    if damaged is not None:
                        file.write_bytes(damaged)
                    shop.channel.move(bad.id, after=shop.channel.latest(), reason=f"{part}: {name}")
                    state = running.wait(lambda state, bad=bad: bad.id in str(state["refused"]))  # type: ignore[misc]
                    assert (state["ready"], state["snapshot"]) == (True, good.id), (part, name)
                    file.write_bytes(whole)
                    shop.point_at(good)  # the encoder must not come whole into the cache before its own turn
                    running.wait(lambda state: state["refused"] is None)
            better = shop.publish(9)
            running.wait(lambda state: state["snapshot"] == better.id)
    assert {status for status, _, _ in load.replies} == {200}
    assert {snapshot for _, snapshot, _ in load.replies} <= {good.id, better.id}


def test_an_impossible_store_is_said_at_once(tmp_path: Path) -> None:
    with server(tmp_path, LOOKALIKE_STORE="ftp://somewhere") as running:
        assert running.process.wait(30) != 0
    assert "is no store" in running.log


def children(parent: int, called: str) -> list[int]:
    found: list[int] = []
    for child in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if called in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


def test_workers_end_when_their_parent_is_killed(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    with server(tmp_path, LOOKALIKE_WORKERS="2") as running:
        running.wait(lambda state: state["ready"])
        workers = children(running.process.pid, "spawn_main")
        assert len(workers) == 2
        running.process.kill()
        running.process.wait(10)
        try:
            wait_for(lambda: [pid for pid in workers if psutil.pid_exists(pid)], lambda left: not left, 20)
        finally:
            for pid in filter(psutil.pid_exists, workers):
                os.kill(pid, signal.SIGKILL)


def test_a_websocket_leaves_no_query_in_the_log(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    offer = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    with server(tmp_path) as running:
        running.wait(lambda state: state["ready"])
        assert httpx.get(f"{running.url}/v1/stream?key=secret", headers=offer).status_code == 404
        assert "secret" not in running.log
