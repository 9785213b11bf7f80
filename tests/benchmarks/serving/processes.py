"""One server process beside two that share a port: rates, times of a core, and memory."""

from __future__ import annotations

import statistics
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.results import write_table
from tests.benchmarks.serving import queries, servers
from tests.benchmarks.serving.loads import Load, Result, send
from tests.benchmarks.serving.servers import Server
from tests.benchmarks.serving.shops import Shop

CLIENTS = (1, 8, 32)
PROCESSES = (1, 2)
PICTURES = 200
QUERIES = 2000
ROUNDS = 5


@dataclass
class _Seen:
    """What one number of processes did with one load, over all rounds."""

    rates: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    served: int = 0
    processor: float = 0.0

    def add(self, result: Result, processor: float) -> None:
        self.rates.append(result.rate())
        self.medians.append(result.percentiles()[0])
        self.served += result.served
        self.processor += processor

    def figures(self) -> dict[str, float]:
        return {
            "rate": statistics.median(self.rates),
            "least": min(self.rates),
            "most": max(self.rates),
            "p50_ms": statistics.median(self.medians),
            "core_ms": 1000 * self.processor / max(1, self.served),
        }


def measure(pictures: Path, shop: Shop, folder: Path, seconds: float) -> dict[str, Any]:
    """Return what one and two processes reached: each load goes to both in turn, `ROUNDS` times."""
    dimension = shop.published().encoder.dimension
    loads = {
        "picture": queries.write(folder / "forms", queries.multipart(queries.pictures(pictures, PICTURES))),
        "product": queries.write(folder / "similar", queries.similar(QUERIES, shop.size.products)),
        "vector": queries.write(folder / "vectors", queries.vectors(QUERIES, dimension)),
    }
    with ExitStack() as stack:
        running = {}
        for number in PROCESSES:
            own = folder / str(number)
            own.mkdir()
            settings = {"LOOKALIKE_WORKERS": str(number)}
            running[number] = stack.enter_context(servers.lookalike(own, shop.folder / "store", settings))
        found = {
            kind: {str(clients): _compare(Load(requests, seconds / ROUNDS, clients), running) for clients in CLIENTS}
            for kind, requests in loads.items()
        }
        memory = {
            str(number): sum(one.memory_full_info().pss for one in _processes(server)) / 1e6
            for number, server in running.items()
        }
    return {"queries": found, "memory_mb": memory}


def _compare(load: Load, running: dict[int, Server]) -> dict[str, dict[str, float]]:
    seen: defaultdict[int, _Seen] = defaultdict(_Seen)
    for round_ in range(ROUNDS + 1):
        for number, server in running.items():
            before = _processor_seconds(server)
            result = send(server, load)
            if round_:  # the first one warms up
                seen[number].add(result, _processor_seconds(server) - before)
    return {str(number): one.figures() for number, one in seen.items()}


def table(figures: dict[str, Any]) -> str:
    """Return the rates of all queries, clients and numbers of processes, and their memory, as Markdown."""
    columns = ["q/s (p50, ms)", *(f"{clients} client(s), {number}" for clients in CLIENTS for number in ("one", "two"))]
    rows = [
        [
            f"by {kind}",
            *(f"{one['rate']:,.0f} ({one['p50_ms']:.1f})" for both in loads.values() for one in both.values()),
        ]
        for kind, loads in figures["queries"].items()
    ]
    core = "; ".join(f"by {kind} {_core(loads[str(CLIENTS[-1])])}" for kind, loads in figures["queries"].items())
    one, two = figures["memory_mb"].values()
    return (
        f"{write_table(columns, rows)}\n\nMilliseconds of a core for a query at {CLIENTS[-1]} clients, one process and "
        f"two: {core}. One process holds {one:.0f} MB and two {two:.0f}, with shared pages counted once."
    )


def _core(both: dict[str, Any]) -> str:
    return " and ".join(f"{one['core_ms']:.1f}" for one in both.values())


def _processor_seconds(server: Server) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in _processes(server))


def _processes(server: Server) -> list[psutil.Process]:
    """Return the process that was started for a server, and its workers."""
    ours = psutil.Process().children()
    first = next(one for one in ours if str(server.port) in one.cmdline())
    return [first, *first.children(recursive=True)]
