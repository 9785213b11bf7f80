"""The demo's Prefect and Dask.

Prefect is a server of its own, the deployment of `prefect.yaml`, and a worker that runs it. Dask is a scheduler with
its dashboard, and two workers in processes of their own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import httpx

from lookalike.infra.demo.environment import Environment
from lookalike.infra.demo.processes import HOST, Service

POOL = "lookalike"
DEPLOYMENT = "nightly"
FLOW = "reindex"
WORKER = "demo"
PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]
SCHEDULED_WITHIN_S = 60.0

WORKERS = 2


def make_server(place: Environment) -> Service:
    """Return the server with the UI as a service; its database is in the demo's folder."""
    argv = [*PREFECT, "server", "start", "--host", HOST, "--port", str(place.prefect_port)]
    return Service(
        "the Prefect server",
        argv,
        place.variables(),
        place.log_file("prefect-server"),
        ready=lambda: _is_up(place),
        ready_s=180,  # the first start creates the database, and reads thousands of files from a cold disk
    )


def make_worker(place: Environment) -> Service:
    """Return the worker as a service; it takes one run at a time, so that two never compete for a channel."""
    argv = [*PREFECT, "worker", "start", "--pool", POOL, "--type", "process", "--name", WORKER, "--limit", "1"]
    return Service(
        "the Prefect worker",
        argv,
        place.variables(),
        place.log_file("prefect-worker"),
        ready=lambda: _is_online(place),
        grace_s=1.5,  # it would wait for its idle threads far longer
    )


def make_register_command(parameters: dict[str, Any]) -> list[str]:
    """Return the command that registers the deployment of `prefect.yaml` with the parameters of this demo."""
    return [*PREFECT, "deploy", "--name", DEPLOYMENT, "--params", json.dumps(parameters)]


class Api:
    """The few requests that the demo sends to its Prefect server."""

    def __init__(self, place: Environment) -> None:
        self._http = httpx.Client(base_url=f"{place.prefect_url}/api", timeout=30, trust_env=False)

    def create_pool(self) -> None:
        """Create the work pool, if it does not exist."""
        reply = self._http.post("/work_pools/", json={"name": POOL, "type": "process"})
        if reply.status_code != httpx.codes.CONFLICT:
            reply.raise_for_status()

    def workers(self) -> list[dict[str, Any]]:
        """Return the workers of the pool; none while there is no pool."""
        reply = self._http.post(f"/work_pools/{POOL}/workers/filter", json={})
        return [] if reply.status_code == httpx.codes.NOT_FOUND else self._read_list(reply)

    def close_earlier_runs(self) -> None:
        """Mark interrupted runs of an earlier demo as crashed, and delete nightly runs that it missed."""
        for run in self._list_runs(["RUNNING", "PENDING", "CANCELLING"]):
            crashed = {"type": "CRASHED", "message": "The demo that ran this was stopped"}
            self._http.post(f"/flow_runs/{run['id']}/set_state", json={"state": crashed, "force": True})
        for run in self._list_runs(["SCHEDULED"], before=datetime.now(UTC)):
            self._http.delete(f"/flow_runs/{run['id']}")

    def next_run(self) -> datetime:
        """Return when the deployment runs next, once the server has scheduled it. Raises `TimeoutError`."""
        deadline = time.monotonic() + SCHEDULED_WITHIN_S
        while not (runs := self._list_runs(["SCHEDULED"])):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the Prefect server has not scheduled {FLOW}/{DEPLOYMENT}; see its log")
            time.sleep(0.5)
        return datetime.fromisoformat(runs[0]["expected_start_time"])

    def _list_runs(self, states: Iterable[str], before: datetime | None = None) -> list[dict[str, Any]]:
        chosen: dict[str, Any] = {"state": {"type": {"any_": list(states)}}}
        if before is not None:
            chosen["expected_start_time"] = {"before_": before.isoformat()}
        query = {"flow_runs": chosen, "sort": "EXPECTED_START_TIME_ASC"}
        return self._read_list(self._http.post("/flow_runs/filter", json=query))

    @staticmethod
    def _read_list(reply: httpx.Response) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = reply.raise_for_status().json()
        return found


def _is_online(place: Environment) -> bool:
    try:
        return any(one["status"] == "ONLINE" for one in Api(place).workers())
    except httpx.HTTPError:
        return False


def _is_up(place: Environment) -> bool:
    try:
        return httpx.get(f"{place.prefect_url}/api/health", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


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
