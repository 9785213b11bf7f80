"""Makes the first snapshot where there is none: starts the nightly deployment, and waits until it ends."""

from __future__ import annotations

import os
import sys
import time

import httpx

from lookalike.data.snapshots.channels import Channel
from lookalike.data.stores import open_store

DEPLOYMENT = "reindex/nightly"
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
PAUSE_SECONDS = 1.0


def main() -> int:
    """Return 0 as soon as the channel has a snapshot, and 1 if the run ended without one."""
    if has_snapshot(os.environ["LOOKALIKE_STORE"]):
        return 0
    user, _, password = os.environ["PREFECT_API_AUTH_STRING"].partition(":")
    with httpx.Client(base_url=os.environ["PREFECT_API_URL"], auth=(user, password), timeout=30) as prefect:
        state = run(prefect)
    sys.stdout.write(f"{DEPLOYMENT} ended as {state['name']}: {state['message'] or 'see its log'}\n")
    return 0 if has_snapshot(os.environ["LOOKALIKE_STORE"]) else 1


def has_snapshot(store: str) -> bool:
    return Channel(open_store(store)).latest() is not None


def run(prefect: httpx.Client) -> dict[str, str]:
    """Start the deployment, wait until its run ends, and return the run's last state."""
    deployment = prefect.get(f"/deployments/name/{DEPLOYMENT}").raise_for_status().json()
    started = prefect.post(f"/deployments/{deployment['id']}/create_flow_run", json={}).raise_for_status().json()
    while True:
        state: dict[str, str] = prefect.get(f"/flow_runs/{started['id']}").raise_for_status().json()["state"]
        if state["type"] in ENDED:
            return state
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
