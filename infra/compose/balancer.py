"""Asks HAProxy over its socket: which servers there are, which of them get queries, and how many the canary gets.

Runs in a container beside the balancer, without a network: only the volume with the socket is shared. Only the standard
library, and nothing of this repository, so that it starts at once.

    show                       all servers and the canary's share, as JSON
    share PERCENT              send so many percent of new queries to servers of the channel `canary`
    await ADDRESS [SECONDS]    wait until the server at this address gets queries
    drain ADDRESS [SECONDS]    send it no new queries, and wait until those that it has are answered
    ready ADDRESS              undo `drain`
"""

from __future__ import annotations

import csv
import json
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

SOCKET = "/run/haproxy/admin.sock"
SHARES = "/etc/lookalike/canary.map"
SECONDS = 30.0
PAUSE_SECONDS = 0.1


class BalancerError(Exception):
    """The balancer refused, or something did not come in time."""


def main(arguments: list[str]) -> int:
    """Run one command; return the exit status."""
    commands: dict[str, Callable[..., None]] = {
        "show": show,
        "share": share,
        "await": await_server,
        "drain": drain,
        "ready": ready,
    }
    name, *rest = arguments or [""]
    if name not in commands:
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        commands[name](*rest)
    except (BalancerError, OSError, ValueError, TypeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def show() -> None:
    servers = [
        {name: one[name] for name in ("pool", "server", "address", "status", "sessions")} for one in list_servers()
    ]
    sys.stdout.write(f"{json.dumps({'share': read_share(), 'servers': servers})}\n")


def share(percent: str) -> None:
    if not 0 <= int(percent) <= 100:
        raise BalancerError(f"{percent} is no percentage: choose 0 to 100")
    ask(f"set map {SHARES} share {int(percent)}")


def await_server(address: str, seconds: str = str(SECONDS)) -> None:
    _wait(lambda: is_up(address), float(seconds), f"the balancer does not see a ready server at {address}")


def drain(address: str, seconds: str = str(SECONDS)) -> None:
    """What lasts longer than `seconds`, such as a stream, is left to the server, which ends it in order as it stops."""
    for one in _at(address):
        ask(f"set server {one['pool']}/{one['server']} state drain")
    try:
        _wait(lambda: not any(one["sessions"] for one in _at(address)), float(seconds), "")
    except BalancerError:
        left = sum(one["sessions"] for one in _at(address))
        sys.stdout.write(f"{address} still has {left} sessions\n")


def ready(address: str) -> None:
    """Any slot that is drained and has no server now, too: its next server must get queries."""
    for one in list_servers():
        if one["host"] == address or (one["is_drained"] and not one["host"]):
            ask(f"set server {one['pool']}/{one['server']} state ready")


def is_up(address: str) -> bool:
    found = _at(address)
    return bool(found) and all(one["status"].startswith("UP") for one in found)


def read_share() -> int:
    for line in ask(f"show map {SHARES}").splitlines():
        match line.split():
            case [_, "share", percent]:
                return int(percent)
    raise BalancerError(f"{SHARES} has no line `share`")


def list_servers() -> list[dict[str, Any]]:
    """Return the servers of all pools; slots that wait for one have no address."""
    states = {
        (fields[1], fields[3]): (fields[4], int(fields[6]))
        for line in ask("show servers state").splitlines()[2:]
        if len(fields := line.split()) > 6
    }
    rows = csv.DictReader(ask("show stat -1 4 -1").removeprefix("# ").splitlines())
    return [_describe(row, *states[row["pxname"], row["svname"]]) for row in rows if row["svname"]]


def _describe(row: dict[str, str], host: str, admin_state: int) -> dict[str, Any]:
    return {
        "pool": row["pxname"],
        "server": row["svname"],
        "address": row.get("addr") or "",
        "host": "" if host == "-" else host,
        "status": row["status"],
        "sessions": int(row["scur"] or 0),
        "is_drained": bool(admin_state & 0x08),  # SRV_ADMF_FDRAIN
    }


def ask(command: str) -> str:
    """Return what HAProxy answers. Raises `BalancerError` where it refuses."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(SOCKET)
        connection.sendall(f"{command}\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    if command.startswith("set ") and answer.strip():
        raise BalancerError(f"{command}: {answer.strip()}")
    return answer


def _at(address: str) -> list[dict[str, Any]]:
    return [one for one in list_servers() if one["host"] == address]


def _wait(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BalancerError(f"{problem} after {seconds:.0f} s")
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
