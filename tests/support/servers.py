"""Real servers for tests: Prefect, and a Dask cluster of worker processes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from lookalike.infra.demo.processes import HOST, Service, Services, free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# the tables of Prefect, from an earlier server of this version: to make them takes 15 seconds of a processor
_DATABASE = ROOT / "build" / "tests" / f"prefect-{version('prefect')}.db"
# of Prefect: what looks for work that no test gives it, and what writes down events that no test reads
_SERVICES_OF_NO_USE = (
    "CANCELLATION_CLEANUP", "EVENT_LOGGER", "EVENT_PERSISTER", "FOREMAN", "LATE_RUNS", "PAUSE_EXPIRATIONS",
    "REPOSSESSOR", "SCHEDULER", "TRIGGERS",
)  # fmt: skip
_LEAN = {
    **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _SERVICES_OF_NO_USE},
    # states of tasks are half of the server's work: many at once cost little more than one
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "20",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_API_LOG_RETRYABLE_ERRORS": "true",
}


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
    home = folder / "prefect"
    seed_database(home)
    env = {
        **os.environ,
        "PREFECT_HOME": str(home),
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
        _keep_database(home)
        yield api


def seed_database(home: Path) -> None:
    """Give a new Prefect home a database with empty tables, if an earlier server left one."""
    if _DATABASE.exists():
        home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_DATABASE, home / "prefect.db")


def _keep_database(home: Path) -> None:
    if _DATABASE.exists():
        return
    _DATABASE.parent.mkdir(parents=True, exist_ok=True)
    draft = _DATABASE.with_suffix(f".{os.getpid()}")
    with closing(sqlite3.connect(home / "prefect.db")) as source, closing(sqlite3.connect(draft)) as target:
        source.backup(target)
    draft.replace(_DATABASE)


def as_prefect_client(api: str) -> AbstractContextManager[Any]:
    """Run the flows of this process on a Prefect server, while the context lasts."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOGGING_TO_API_ENABLED,
        temporary_settings,
    )

    return temporary_settings(
        {
            PREFECT_API_URL: api,
            PREFECT_LOGGING_TO_API_ENABLED: False,  # the sender of logs outlives the server, and would wait for it
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # a flow waits up to a second for the end of its heart
        }
    )


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
def running_prefect() -> Iterator[str]:
    """Run a Prefect server in a folder of its own, with no more than tests need; yield its API's URL."""
    with tempfile.TemporaryDirectory(prefix="prefect-") as folder, prefect_server(Path(folder), _LEAN) as api:
        yield api


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[str]:
    """A Prefect server for each test process: those who share one make SQLite refuse, and clients wait for seconds."""
    with running_prefect() as api:
        yield api


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
