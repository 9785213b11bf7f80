"""The demo's Dask cluster: a scheduler with its dashboard, and two workers in processes of their own."""

from __future__ import annotations

import sys

import httpx

from lookalike.infra.demo.environment import Environment
from lookalike.infra.demo.ports import HOST
from lookalike.infra.demo.processes import Service

WORKERS = 2


def make_scheduler(place: Environment) -> Service:
    """Return the scheduler as a service; it is ready once it answers."""
    argv = [sys.executable, "-m", "dask", "scheduler", "--host", HOST, "--port", str(place.scheduler_port)]
    argv += ["--dashboard-address", f"{HOST}:{place.dashboard_port}"]
    return Service(
        "the Dask scheduler",
        argv,
        place.variables(),
        place.log_file("dask-scheduler"),
        ready=lambda: _count_workers(place) is not None,
    )


def make_workers(place: Environment) -> Service:
    """Return the workers, one thread each, as a service; it is ready once the scheduler knows all of them."""
    argv = [sys.executable, "-m", "dask", "worker", place.scheduler_url, "--host", HOST, "--no-dashboard"]
    argv += ["--nworkers", str(WORKERS), "--nthreads", "1", "--local-directory", str(place.home / "dask")]
    return Service(
        "the Dask workers",
        argv,
        place.variables(),
        place.log_file("dask-workers"),
        ready=lambda: _count_workers(place) == WORKERS,
    )


def _count_workers(place: Environment) -> int | None:
    try:
        reply = httpx.get(f"{place.dashboard_url}/json/counts.json", timeout=2, trust_env=False)
        return int(reply.raise_for_status().json()["workers"])
    except (httpx.HTTPError, ValueError, KeyError):
        return None
