"""Registers the work pool and the deployments of `prefect.yaml`, with the catalogue that the environment names.

    python -m lookalike.infra.deployments

Run it again after each change: a pool that is there stays as it is, and deployments are brought up to date.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import yaml  # type: ignore[import-untyped]

POOL = "lookalike"
PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]
PROJECT = "prefect.yaml"
PARAMETERS = ("catalogue", "channel", "encoder", "attribution", "shards")
"""What deployments take from the environment, from variables of these names; the flow decides where they are empty."""


def main() -> None:
    """Register all of it with the server of `PREFECT_API_URL`.

    `SCHEDULES` may say when they run, as JSON: by a deployment's name a cron line in UTC, or "" for never.
    """
    make_pool()
    given: dict[str, Any] = {name: os.environ.get(name.upper()) or None for name in PARAMETERS}
    given["shards"] = int(given["shards"]) if given["shards"] else None
    given["channel"] = given["channel"] or "current"
    schedules: dict[str, str] = json.loads(os.environ.get("SCHEDULES") or "{}")
    project = with_schedules(with_parameters(yaml.safe_load(Path(PROJECT).read_text()), given), schedules)
    with tempfile.TemporaryDirectory() as folder:
        deployments = Path(folder) / PROJECT
        deployments.write_text(yaml.safe_dump(project))
        subprocess.run([*PREFECT, "deploy", "--all", "--prefect-file", str(deployments)], check=True)
    clear_schedules([one for one in project["deployments"] if schedules.get(one["name"]) == ""])


def open_client() -> httpx.Client:
    secret = os.environ.get("PREFECT_API_AUTH_STRING")
    user, _, password = (secret or "").partition(":")
    return httpx.Client(base_url=os.environ["PREFECT_API_URL"], auth=(user, password) if secret else None, timeout=30)


def make_pool() -> None:
    """Make the work pool, if it does not exist: somebody may have paused the one that does."""
    with open_client() as prefect:
        reply = prefect.post("/work_pools/", json={"name": POOL, "type": "process"})
    if reply.status_code != httpx.codes.CONFLICT:
        reply.raise_for_status()


def clear_schedules(deployments: list[dict[str, Any]]) -> None:
    """Remove what is scheduled: `prefect deploy` leaves the schedules of a deployment that has none any more."""
    with open_client() as prefect:
        for one in deployments:
            flow = one["entrypoint"].rpartition(":")[2]
            found = prefect.get(f"/deployments/name/{flow}/{one['name']}").raise_for_status().json()
            for schedule in found["schedules"]:
                prefect.delete(f"/deployments/{found['id']}/schedules/{schedule['id']}").raise_for_status()


def with_parameters(project: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return what `prefect.yaml` holds with these values for the deployments that have such parameters."""
    deployments = [
        {**one, "parameters": one["parameters"] | parameters_of(one, given)} for one in project["deployments"]
    ]
    return {**project, "deployments": deployments}


def with_schedules(project: dict[str, Any], schedules: dict[str, str]) -> dict[str, Any]:
    """Return what `prefect.yaml` holds with these cron lines. Raises `KeyError` if there is no such deployment."""
    deployments = {one["name"]: one for one in project["deployments"]}
    for name, cron in schedules.items():
        wanted = [{"cron": cron, "timezone": "UTC", "active": True}] if cron else []
        deployments[name] = {**deployments[name], "schedules": wanted}
    return {**project, "deployments": list(deployments.values())}


def parameters_of(deployment: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return those of the values that this deployment takes. One that is for all channels stays so."""
    own = deployment["parameters"]
    names = given.keys() & own.keys() - ({"channel"} if own.get("channel") is None else set())
    return {name: given[name] for name in names}


if __name__ == "__main__":
    main()
