"""Replaces serving containers one by one, and lets a part of the queries try a new snapshot first.

    replace                    start each replica anew, with the image and settings of today: no query fails
    canary PERCENT             start servers of the channel `canary`, and send them so many percent of the queries
    promote                    point `current` at the canary's snapshot; when all serve it, send the canary nothing
    rollback                   send the canary nothing, at once

Runs on the host, beside `compose.yaml`, with nothing but Docker and the standard library. DOCKER and COMPOSE say which
programs are called.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCKER = shlex.split(os.environ.get("DOCKER", "docker"))
COMPOSE = shlex.split(os.environ.get("COMPOSE", "docker compose"))
READY_SECONDS = 180.0
DRAIN_SECONDS = 15.0
PAUSE_SECONDS = 0.5
PORT = 8000


class RolloutError(Exception):
    """A step failed; what is served has not changed because of it."""


def main(arguments: list[str]) -> int:
    """Run one command; return the exit status."""
    commands: dict[str, Callable[..., None]] = {
        "replace": replace,
        "canary": canary,
        "promote": promote,
        "rollback": rollback,
    }
    name, *rest = arguments or [""]
    if name not in commands:
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        commands[name](*rest)
    except RolloutError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def replace() -> None:
    old = list_containers("serving")
    if not old:
        raise RolloutError("no container serves: `make up` starts all")
    for number, container in enumerate(old, start=1):
        replace_one(container, replicas=len(old))
        say(f"replaced {number} of {len(old)}")


def replace_one(old: str, *, replicas: int) -> None:
    """Start a replica more, and when it answers, stop an old one."""
    before = set(list_containers("serving"))
    compose("up", "--detach", "--no-deps", "--no-recreate", "--scale", f"serving={replicas + 1}", "serving")
    [new] = set(list_containers("serving")) - before
    try:
        wait_healthy(new)
        balancer("await", address(new))
    except RolloutError:
        docker("rm", "--force", "--volumes", new)
        raise
    stop(old)


def stop(container: str) -> None:
    """Stop a server that the balancer sends nothing more, when what it was asked is answered."""
    place = address(container)
    balancer("drain", place, str(DRAIN_SECONDS))
    docker("stop", container)  # streams get `goaway` now, and begin again at another server
    docker("rm", "--volumes", container)
    balancer("ready", place)


def canary(percent: str) -> None:
    compose("--profile", "canary", "up", "--detach", "--no-deps", "--no-recreate", "--wait", "serving-canary")
    for container in list_containers("serving-canary"):
        balancer("await", address(container))
    balancer("share", percent)
    say(f"{percent} % of the queries go to servers of the channel `canary`")


def promote() -> None:
    snapshot = json.loads(cli("snapshots", "show", "current", "--channel", "canary"))["id"]
    say(cli("snapshots", "promote", snapshot, "--reason", "promoted from the channel canary").strip())
    wait(lambda: set(served()) == {snapshot}, f"not all replicas serve {snapshot}")
    rollback()


def rollback() -> None:
    balancer("share", "0")
    say("all queries go to servers of the channel `current`")


def served() -> list[str]:
    """Return the snapshot of each replica."""
    ask = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{PORT}/readyz', timeout=5).read().decode())"
    replies = [docker("exec", one, "python", "-Sc", ask) for one in list_containers("serving")]
    return [str(json.loads(reply).get("snapshot")) for reply in replies]


def wait_healthy(container: str) -> None:
    def is_healthy() -> bool:
        state = json.loads(docker("inspect", "--format", "{{json .State}}", container))
        if not state["Running"]:
            raise RolloutError(f"the new container ended: {docker('logs', '--tail', '5', container)}")
        return bool(state["Health"]["Status"] == "healthy")

    wait(is_healthy, "the new container is not ready")


def wait(condition: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RolloutError(f"{problem} after {READY_SECONDS:.0f} s")
        time.sleep(PAUSE_SECONDS)


def list_containers(service: str) -> list[str]:
    return compose("ps", "--quiet", service).split()


def address(container: str) -> str:
    """Return the address at which the balancer knows a container."""
    networks: dict[str, Any] = json.loads(
        docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container)
    )
    return next(str(one["IPAddress"]) for name, one in networks.items() if name.endswith("_front"))


def balancer(*arguments: str) -> str:
    return compose("run", "--rm", "--no-deps", "--no-TTY", "balancer-admin", *arguments)


def cli(*arguments: str) -> str:
    return compose("run", "--rm", "--no-deps", "--no-TTY", "cli", *arguments)


def compose(*arguments: str) -> str:
    return _run([*COMPOSE, *arguments])


def docker(*arguments: str) -> str:
    return _run([*DOCKER, *arguments])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RolloutError(f"{shlex.join(command)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
