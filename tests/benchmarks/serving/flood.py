"""A flood: three times as many searches by picture as the machine can do, for minutes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.serving import queries, servers
from tests.benchmarks.serving.load import OK
from tests.benchmarks.serving.loads import Load, Result, send, sending
from tests.benchmarks.serving.servers import Server
from tests.benchmarks.serving.shops import Shop

TIMES = 3.0
TOO_MANY = 429
DEADLINE_SECONDS = 10.0
PICTURES = 1024  # more than the queue holds


def measure(pictures: Path, shop: Shop, folder: Path, seconds: float) -> None:
    """Flood a server, print what was seen, and fail where a promise is broken."""
    requests = queries.write(folder / "forms", queries.multipart(queries.pictures(pictures, PICTURES)))
    with servers.lookalike(folder, shop.folder / "store") as server:
        capacity = send(server, Load(requests, 20, 32)).rate()
        send(server, Load(requests, 10, rate=TIMES * capacity))  # until the queue and all threads have been full once
        memory, descriptors = list[float](), list[float]()
        with sending(server, Load(requests, seconds, rate=TIMES * capacity)) as results:
            _watch(server, seconds, memory, descriptors)
        time.sleep(2)
        afterwards = send(server, Load(requests, 10, 8))
        _print(results[0], afterwards, capacity, memory, descriptors)
    _check(results[0])


def _watch(server: Server, seconds: float, memory: list[float], descriptors: list[float]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        memory.append(server.memory)
        descriptors.append(server.gauge("process_open_fds"))
        time.sleep(2)


def _print(result: Result, afterwards: Result, capacity: float, memory: list[float], descriptors: list[float]) -> None:
    sys.stdout.write(
        f"capacity {capacity:.1f} q/s; {len(result.replies):,} requests at {TIMES * capacity:.0f} a second\n"
    )
    for name, status in (("answered", OK), ("refused with 429", TOO_MANY)):
        p50, p95, p99 = result.percentiles(status)
        sys.stdout.write(f"{name:<18}{result.rate(status):>8.1f}/s  p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms\n")
    quarters = [float(np.median(part)) for part in np.array_split(memory, 4)]
    shown = ", ".join(f"{quarter:.0f}" for quarter in quarters)
    sys.stdout.write(
        f"memory by quarters of the time: {shown} MB; descriptors {min(descriptors):.0f} to {max(descriptors):.0f}\n"
    )
    sys.stdout.write(f"all statuses {dict(result.statuses())}; afterwards {afterwards.rate():.1f} q/s of 8 clients\n")


def _check(result: Result) -> None:
    others = set(result.statuses()) - {OK, TOO_MANY}
    slowest = result.percentiles()[2] / 1000
    if others or slowest > DEADLINE_SECONDS:
        raise SystemExit(f"broken: statuses {others}, p99 of what was answered {slowest:.1f} s")
