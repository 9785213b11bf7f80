"""Real servers for tests: Prefect, a Dask cluster of two worker processes, and our own HTTP server."""

from __future__ import annotations

import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from lookalike.infra.demo.processes import HOST, Service, Services, free_port
from tests.support.shared import shared_service

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# of Prefect: what looks for work that no test gives it, and what writes down events that no test reads
_SERVICES_OF_NO_USE = (
    "CANCELLATION_CLEANUP", "EVENT_LOGGER", "EVENT_PERSISTER", "FOREMAN", "LATE_RUNS", "PAUSE_EXPIRATIONS",
    "REPOSSESSOR", "SCHEDULER", "TRIGGERS",
)  # fmt: skip


def answers(url: str) -> bool:
    """Tell whether a URL answers with a 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(200 <= reply.status < 300)
    except OSError:
        return False


@contextmanager
def prefect_server(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a Prefect server with a database of its own; yield its API's URL."""
    port = free_port()
    api = f"http://{HOST}:{port}/api"
    env = {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_API_URL": api,  # else its UI looks for the usual port
        **(env or {}),
    }
    service = Service(
        "Prefect server",
        [str(BIN / "prefect"), "server", "start", "--host", HOST, "--port", str(port)],
        env,
        folder / "prefect.log",
        ready=lambda: answers(f"{api}/health"),
        ready_s=240,  # on a busy machine
    )
    with Services(ROOT) as services:
        services.start(service)
        services.wait_ready(service)
        yield api


@contextmanager
def dask_cluster(folder: Path, workers: int = 2, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a Dask scheduler and worker processes; yield the scheduler's address."""
    port = free_port()
    address = f"tcp://{HOST}:{port}"
    environment = {**os.environ, **(env or {})}
    scheduler = Service(
        "Dask scheduler",
        [str(BIN / "dask"), "scheduler", "--host", HOST, "--port", str(port), "--dashboard-address", f"{HOST}:0"],
        environment,
        folder / "scheduler.log",
        ready=lambda: "Scheduler at" in _text(folder / "scheduler.log"),
    )
    pool = Service(
        "Dask workers",
        [
            *(str(BIN / "dask"), "worker", address, "--host", HOST, "--nworkers", str(workers), "--nthreads", "1"),
            *("--no-dashboard", "--local-directory", str(folder / "dask")),
        ],
        environment,
        folder / "workers.log",
        ready=lambda: _text(folder / "workers.log").count("Registered to") >= workers,
    )
    with Services(ROOT) as services:
        for service in (scheduler, pool):
            services.start(service)
            services.wait_ready(service)
        yield address


@contextmanager
def lookalike_server(folder: Path, store: str, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run `lookalike serve` on a free port, until it is ready to answer; yield its URL."""
    port = free_port()
    url = f"http://{HOST}:{port}"
    service = Service(
        "Lookalike server",
        [str(BIN / "lookalike"), "serve", "--store", store, "--port", str(port)],
        {**os.environ, "LOOKALIKE_CACHE": str(folder / "cache"), **(env or {})},
        folder / "serve.log",
        ready=lambda: answers(f"{url}/readyz"),
    )
    with Services(ROOT) as services:
        services.start(service)
        services.wait_ready(service)
        yield url


@contextmanager
def running_prefect() -> Iterator[str]:
    """Run a Prefect server in a folder of its own, with no more than tests need; yield its API's URL."""
    lean = {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _SERVICES_OF_NO_USE}
    with tempfile.TemporaryDirectory(prefix="prefect-") as folder, prefect_server(Path(folder), lean) as api:
        yield api


@pytest.fixture(scope="session")
def prefect_api(request: pytest.FixtureRequest) -> str:
    """A Prefect server for all test processes: one costs ten seconds of a processor to start, and more to keep."""
    api: str = shared_service(request.config, running_prefect)
    return api


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
