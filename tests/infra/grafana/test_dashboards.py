"""Dashboards and recording rules are asked of a real Prometheus, which scrapes a real server and figures of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from lookalike.data.stores.local import LocalStore
from lookalike.flows.reporting.metrics import push_metrics, textfile
from lookalike.flows.runtime.settings import BatchSettings
from lookalike.infra.grafana.dashboards import DASHBOARDS
from tests.support.client import wait_for
from tests.support.engine import run
from tests.support.processes import Server, server
from tests.support.programs import need
from tests.support.prometheus import PROMETHEUS, prometheus, textfiles
from tests.support.reports import run_report
from tests.support.servers import ROOT
from tests.support.shop import Shop, picture

pytestmark = pytest.mark.slow  # Prefect takes seconds to import, for what a run writes

GRAFANA = ROOT / "infra" / "grafana"


def panels(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((GRAFANA / f"{name}.json").read_text())["panels"]
    return found


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_files_are_what_the_code_says(name: str) -> None:
    written = [(panel["title"], panel["targets"][0]["expr"]) for panel in panels(name)]
    assert written == [(title, expression) for title, _, expression, _ in DASHBOARDS[name]]


@pytest.mark.system
def test_the_code_writes_the_files_again(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run(["make", "dashboards", f"FOLDER={tmp_path}"], environment=environment, timeout=280)
    for name in DASHBOARDS:
        assert (tmp_path / f"{name}.json").read_text() == (GRAFANA / f"{name}.json").read_text()


@contextmanager
def figures_of_a_run(folder: Path) -> Iterator[tuple[int, str]]:
    """Serve what a run writes for node-exporter; yield the port and the path."""
    folder.mkdir()
    settings = BatchSettings(metrics_textfile=str(folder), metrics_pushgateway=None)
    report = run_report(started_at=datetime.now(UTC))
    push_metrics(settings, report)
    with textfiles(folder) as port:
        yield port, f"/{textfile(str(folder), report).name}"


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
