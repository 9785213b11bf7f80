"""Dashboards and recording rules are asked of a real Prometheus, which scrapes a real server and figures of a run."""

from __future__ import annotations

import functools
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from lookalike.data.stores.local import LocalStore
from lookalike.flows.reporting.metrics import push_metrics, textfile
from lookalike.flows.runtime.settings import BatchSettings
from lookalike.infra.demo.processes import free_port
from lookalike.infra.grafana.dashboards import DASHBOARDS, build
from tests.support.client import wait_for
from tests.support.processes import Server, server
from tests.support.programs import need
from tests.support.reports import run_report
from tests.support.servers import ROOT
from tests.support.shop import Shop, picture

pytestmark = pytest.mark.slow  # Prefect takes seconds to import, for what a run writes

GRAFANA = ROOT / "infra" / "grafana"
PROMETHEUS = ROOT / "infra" / "prometheus"


def panels(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((GRAFANA / f"{name}.json").read_text())["panels"]
    return found


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_files_are_what_the_code_says(name: str) -> None:
    written = [(panel["title"], panel["targets"][0]["expr"]) for panel in panels(name)]
    assert written == [(title, expression) for title, _, expression, _ in DASHBOARDS[name]]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_code_writes_the_files_again(name: str) -> None:
    pytest.importorskip("grafana_foundation_sdk")
    assert build(name) == (GRAFANA / f"{name}.json").read_text()


class _Quiet(SimpleHTTPRequestHandler):
    def guess_type(self, path: Any) -> str:
        return "text/plain; version=0.0.4"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        pass


@contextmanager
def figures_of_a_run(folder: Path) -> Iterator[tuple[int, str]]:
    """Serve what a run writes for node-exporter; yield the port and the path."""
    folder.mkdir()
    settings = BatchSettings(metrics_textfile=str(folder), metrics_pushgateway=None)
    report = run_report(started_at=datetime.now(UTC))
    push_metrics(settings, report)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield http.server_address[1], f"/{textfile(str(folder), report).name}"
        finally:
            http.shutdown()
            thread.join()


@contextmanager
def prometheus(folder: Path, serving: int, batch: tuple[int, str]) -> Iterator[httpx.Client]:
    """Run Prometheus with our example and our rules, once a second and on these two targets."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(PROMETHEUS / "rules" / "*.yml")]
    del config["alerting"]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    jobs["lookalike-serving"]["static_configs"] = [{"targets": [f"127.0.0.1:{serving}"]}]
    jobs["lookalike-pushgateway"] |= {
        "static_configs": [{"targets": [f"127.0.0.1:{batch[0]}"]}],
        "metrics_path": batch[1],
    }
    config["scrape_configs"] = [jobs["lookalike-serving"], jobs["lookalike-pushgateway"]]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    port = free_port()
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        process.wait(30)


def ask(running: Server) -> None:
    """Ask what people ask: good and bad."""
    with httpx.Client(base_url=running.url, timeout=20, trust_env=False) as client:
        for seed in range(3):
            good = client.post("/v1/search", files={"image": ("x.png", picture(seed))})
            assert good.status_code == 200, good.text
        assert client.post("/v1/search", files={"image": ("x.png", b"no picture")}).status_code >= 400


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Server]]:
    need("prometheus", package="prometheus")
    folder = tmp_path_factory.mktemp("monitored")
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish()
    with (
        server(folder, LOOKALIKE_RECALL_SECONDS="0.2") as running,
        figures_of_a_run(folder / "figures") as batch,
    ):
        running.wait(lambda state: bool(state["ready"]))
        with prometheus(folder, running.port, batch) as client:
            yield client, running


def series(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    try:
        reply = client.get("/api/v1/query", params={"query": expression})
    except httpx.TransportError:
        return []  # it has not started yet
    if reply.status_code == 503:
        return []
    assert reply.status_code == 200, f"{expression}: {reply.text}"
    found: list[dict[str, Any]] = reply.json()["data"]["result"]
    return [one for one in found if one["value"][1] != "NaN"]


def recorded() -> list[str]:
    return [
        rule["record"]
        for path in sorted((PROMETHEUS / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    ]


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.services
def test_each_rule_and_each_panel_has_data(asked: tuple[httpx.Client, Server]) -> None:
    client, running = asked

    def empty() -> list[str]:
        ask(running)
        expressions = [*recorded(), *(panel["targets"][0]["expr"] for name in DASHBOARDS for panel in panels(name))]
        return [expression for expression in expressions if not series(client, expression)]

    assert wait_for(empty, lambda found: not found) == []
    assert series(client, "lookalike_no_such_metric") == []  # else nothing here could fail
    firing = {one["metric"]["alertname"] for one in series(client, 'ALERTS{alertstate="firing"}')}
    assert firing == set()  # a system that is well wakes nobody
