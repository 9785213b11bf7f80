"""A flood: three times as many searches by picture as the machine can do, for minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.results import write_table
from tests.benchmarks.serving import queries, servers
from tests.benchmarks.serving.load import OK
from tests.benchmarks.serving.loads import Load, Result, send, sending
from tests.benchmarks.serving.servers import Server
from tests.benchmarks.serving.shops import Shop

TIMES = 3.0
TOO_MANY = 429
STATUSES = {OK: "answered", TOO_MANY: "refused with 429"}
DEADLINE_SECONDS = 10.0
PICTURES = 1024  # more than the queue holds


def measure(pictures: Path, shop: Shop, folder: Path, seconds: float) -> dict[str, Any]:
    """Flood a server, and return what was seen. Raises `SystemExit` where a promise is broken."""
    requests = queries.write(folder / "forms", queries.multipart(queries.pictures(pictures, PICTURES)))
    with servers.lookalike(folder, shop.folder / "store") as server:
        capacity = send(server, Load(requests, 20, 32)).rate()
        send(server, Load(requests, 10, rate=TIMES * capacity))  # until the queue and all threads have been full once
        memory, descriptors = list[float](), list[float]()
        with sending(server, Load(requests, seconds, rate=TIMES * capacity)) as results:
            _watch(server, seconds, memory, descriptors)
        time.sleep(2)
        afterwards = send(server, Load(requests, 10, 8))
    flooded = results[0]
    _check(flooded)
    return {
        "seconds": seconds,
        "capacity": capacity,
        "rate": TIMES * capacity,
        "requests": len(flooded.replies),
        "statuses": {
            str(status): {"rate": flooded.rate(status), **_times(flooded, status)} for status in flooded.statuses()
        },
        "memory_mb_by_quarter": [float(np.median(part)) for part in np.array_split(memory, 4)],
        "descriptors": [min(descriptors), max(descriptors)],
        "afterwards_rate": afterwards.rate(),
    }


def table(figures: dict[str, Any]) -> str:
    """Return rates and times by status, and what the server held meanwhile, as Markdown."""
    rows = [
        [
            STATUSES[int(status)],
            f"{one['rate']:.1f}",
            *(f"{one[time]:,.0f}" for time in ("p50_ms", "p95_ms", "p99_ms")),
        ]
        for status, one in figures["statuses"].items()
    ]
    columns = ["", "a second", "p50, ms", "p95", "p99"]
    memory = ", ".join(f"{one:.0f}" for one in figures["memory_mb_by_quarter"])
    least, most = figures["descriptors"]
    return (
        f"{figures['requests']:,} requests in {figures['seconds']:.0f} s, {figures['rate']:.0f} a second, three times "
        f"what 32 clients had reached just before:\n\n{write_table(columns, rows)}\n\n"
        f"Memory in each quarter of the time: {memory} MB. Open files: {least:.0f} to {most:.0f}. Afterwards 8 clients "
        f"got {figures['afterwards_rate']:.0f} q/s, of {figures['capacity']:.0f} that 32 had got before."
    )


def _times(result: Result, status: int) -> dict[str, float]:
    return dict(zip(("p50_ms", "p95_ms", "p99_ms"), result.percentiles(status), strict=True))


def _watch(server: Server, seconds: float, memory: list[float], descriptors: list[float]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        memory.append(server.memory)
        descriptors.append(server.gauge("process_open_fds"))
        time.sleep(2)


def _check(result: Result) -> None:
    others = set(result.statuses()) - {OK, TOO_MANY}
    slowest = result.percentiles()[2] / 1000
    if others or slowest > DEADLINE_SECONDS:
        raise SystemExit(f"broken: statuses {others}, p99 of what was answered {slowest:.1f} s")
