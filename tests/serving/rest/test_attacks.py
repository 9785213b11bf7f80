"""What `tests/benchmarks/fuzz.py` and `workers.py` show at full size, small."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import httpx
import pytest

from tests.benchmarks.fuzz import ask_once, fuzz
from tests.benchmarks.workers import kill
from tests.support.client import wait_for
from tests.support.mutations import case, files_of
from tests.support.pictures import drawing
from tests.support.processes import server
from tests.support.shop import Shop, picture

pytestmark = pytest.mark.services


def test_mutated_pictures_are_answered_or_refused(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    (tmp_path / "real").mkdir()
    drawing(1).save(tmp_path / "real" / "a.png")
    files = files_of(tmp_path / "real", 1)
    assert case(7, files) == case(7, files)
    with server(tmp_path) as running:
        running.wait(lambda state: state["ready"])
        findings = fuzz(running, files, iter(range(500)), connections=2)
        assert not findings.failures, findings.failures[:3]
        assert findings.reasons.total() == 500
        assert findings.reasons["200"] > 50
        assert findings.reasons["422 image_damaged"] > 50
        assert ask_once(running.port, picture(3)) == (200, "b/similar")


@pytest.mark.system
@pytest.mark.slow
def test_a_killed_worker_takes_only_its_own_requests_along(shop: Shop, tmp_path: Path) -> None:
    shop.publish(8)
    assert "all of them its own" in kill(tmp_path, 9)


@pytest.mark.parametrize("body", ["form", "json", "chunks"])
def test_a_client_that_hangs_up_while_it_sends_is_no_error(shop: Shop, tmp_path: Path, body: str) -> None:
    shop.publish(8)
    head = "POST /v1/search HTTP/1.1\r\nHost: x\r\n"
    sent = {
        "form": f"{head}Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000\r\n\r\n--b\r\n",
        "json": f"{head}Content-Type: application/json\r\nContent-Length: 9000\r\n\r\n{{",
        "chunks": f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n",
    }[body]
    with server(tmp_path) as running:
        running.wait(lambda state: state["ready"])
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", running.port), 5) as connection:
                connection.sendall(sent.encode())
                time.sleep(0.1)
        metrics = wait_for(lambda: httpx.get(f"{running.url}/metrics").text, lambda text: text.count('"499"') > 0)
        assert 'status="500"' not in metrics
        assert "ERROR" not in running.log
        assert "Traceback" not in running.log
