"""What callers see while containers of a running system are replaced, promoted or killed.

    python -m tests.benchmarks.compose rollout [--requests 20000]
    python -m tests.benchmarks.compose canary [--share 10] [--requests 4000]
                                              (publish to the channel `canary` first)
    python -m tests.benchmarks.compose kills [SERVICE …]

Bring the system up first (`make up`, docs/compose.md), and name its settings if they are not those of `make up`.
DOCKER_HOST and COMPOSE say where the engine and Compose are. Run it as root on the engine's host: `kills` sends SIGKILL
to the first process of each container, as the kernel does when memory runs out. Results are JSON on standard output.
Meanwhile four callers ask without a pause: two over HTTP, one over WebSocket, one over gRPC. For `canary`, whose
channel must have a snapshot, four ask over HTTP and two over gRPC.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.compose import FOLDER, Stack
from tests.support.engine import Engine
from tests.support.load import Load, Tally

SERVICES = (
    *("serving", "balancer", "store", "seaweedfs", "prefect-server", "prefect-worker", "postgres", "redis"),
    *("dask-scheduler", "dask-worker", "prometheus", "alertmanager", "pushgateway"),
)
QUIET_SECONDS = 5.0
"""How long callers go on before and after a kill."""
BACK_SECONDS = 180.0


def main() -> int:
    """Run one check; return 1 if a promise does not hold."""
    options = _parse()
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    stack = Stack(Engine(host), os.environ.get("COMPOSE", "docker-compose"), options.settings.resolve())
    report = {"rollout": rollout, "canary": canary, "kills": kills}[options.check](stack, options)
    sys.stdout.write(f"{json.dumps(report, indent=2)}\n")
    return int(not report["ok"])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=["rollout", "canary", "kills"])
    parser.add_argument("services", nargs="*", default=list(SERVICES))
    parser.add_argument("--settings", type=Path, default=FOLDER / ".env")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--share", type=int, default=10)
    return parser.parse_args()


@contextmanager
def load(stack: Stack, *, streams: int = 1) -> Iterator[Load]:
    with httpx.Client(base_url=stack.search_url, timeout=30) as client:
        found = client.get("/v1/products", params={"limit": 100}).raise_for_status().json()["products"]
    products = [product["id"] for product in found]
    with Load(stack.search_url, products, http=4 - 2 * streams, websocket=streams, grpc=2 - streams) as running:
        running.go_on(20)
        yield running


def rollout(stack: Stack, options: argparse.Namespace) -> dict[str, Any]:
    """Replace all servers, again and again, until so many requests were answered."""
    rounds: list[float] = []
    with load(stack) as running:
        while running.tally.answers.total() < options.requests:
            began = time.monotonic()
            stack.make("rollout", timeout=900)
            rounds.append(round(time.monotonic() - began, 1))
        running.go_on(20)
    replicas = len(stack.containers("serving"))
    seen = describe(running.tally)
    return {"ok": not running.tally.failures, "replicas": replicas, "rollout_seconds": rounds, **seen}


def canary(stack: Stack, options: argparse.Namespace) -> dict[str, Any]:
    """Measure the canary's share, and how long it gets queries after `canary-rollback` was called."""
    stack.make("canary", f"SHARE={options.share}", timeout=300)
    # a stream stays where it began: its queries are no sample
    with load(stack, streams=0) as running:
        running.go_on(options.requests)
        shared = dict(running.tally.snapshots)
        least = min(shared, key=lambda snapshot: shared[snapshot])
        began = time.monotonic()
        stack.make("canary-rollback")
        took = time.monotonic() - began
        before = running.tally.snapshots[least]
        running.go_on(options.requests // 4)
    measured = shared[least] / sum(shared.values())
    return {
        "ok": len(shared) == 2 and not running.tally.failures,
        "share": options.share / 100,
        "measured": round(measured, 4),
        "rollback_seconds": round(took, 2),
        "answers_of_the_canary_after_it": running.tally.snapshots[least] - before,
        **describe(running.tally),
    }


def kills(stack: Stack, options: argparse.Namespace) -> dict[str, Any]:
    """Kill each container in turn; say what callers saw, and when it was healthy again."""
    rows = [kill(stack, service) for service in options.services]
    return {"ok": all(row["healthy_after"] is not None for row in rows), "kills": rows}


def kill(stack: Stack, service: str) -> dict[str, Any]:
    with load(stack) as running:
        time.sleep(QUIET_SECONDS)
        [victim, *_] = stack.containers(service)
        began = time.monotonic()
        os.kill(victim["State"]["Pid"], signal.SIGKILL)
        back = _await_healthy(stack, victim, began)
        time.sleep(QUIET_SECONDS)
        last = running.tally.last_failure
    seen = describe(running.tally)
    lasted = round(last - began, 1) if last else 0.0
    return {"service": service, "healthy_after": back, "failures_lasted": lasted, **seen}


def _await_healthy(stack: Stack, victim: dict[str, Any], began: float) -> float | None:
    while time.monotonic() - began < BACK_SECONDS:
        [now] = json.loads(stack.engine.docker("inspect", victim["Id"]))
        is_new = now["State"]["StartedAt"] != victim["State"]["StartedAt"]
        if is_new and now["State"]["Running"] and now["State"]["Health"]["Status"] == "healthy":
            return round(time.monotonic() - began, 1)
        time.sleep(0.2)
    return None


def describe(tally: Tally) -> dict[str, Any]:
    return {
        "answered": dict(tally.answers),
        "failed": dict(tally.failed),
        "asked_again_after_goaway": tally.repeated,
        "slowest_seconds": round(tally.slowest, 2),
        "failures": tally.failures[:5],
    }


if __name__ == "__main__":
    sys.exit(main())
