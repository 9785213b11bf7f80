"""One server process beside two that share a port: rates, times of a core, and memory."""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

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


def measure(pictures: Path, shop: Shop, folder: Path, seconds: float) -> None:
    """Print a table; each load goes to both in turn, `ROUNDS` times."""
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
        sys.stdout.write(f"{'query':<10}{'clients':>8}{'processes':>11}{'q/s':>8}{'p50':>8} ms{'a core':>9} ms\n")
        for kind, requests in loads.items():
            for clients in CLIENTS:
                _compare(kind, Load(requests, seconds / ROUNDS, clients), running)
        for number, server in running.items():
            megabytes = sum(one.memory_full_info().pss for one in _processes(server)) / 1e6
            sys.stdout.write(f"{number} processes hold {megabytes:.0f} MB, pages that they share counted once\n")


def _compare(kind: str, load: Load, running: dict[int, Server]) -> None:
    seen: defaultdict[int, _Seen] = defaultdict(_Seen)
    for round_ in range(ROUNDS + 1):
        for number, server in running.items():
            before = _processor_seconds(server)
            result = send(server, load)
            if round_:  # the first one warms up
                seen[number].add(result, _processor_seconds(server) - before)
    for number, one in seen.items():
        sys.stdout.write(
            f"{kind:<10}{load.clients:>8}{number:>11}{statistics.median(one.rates):>8.0f}"
            f"{statistics.median(one.medians):>8.1f}   {1000 * one.processor / max(1, one.served):>9.1f}\n"
        )
        sys.stdout.flush()


def _processor_seconds(server: Server) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in _processes(server))


def _processes(server: Server) -> list[psutil.Process]:
    """Return the process that was started for a server, and its workers."""
    ours = psutil.Process().children()
    first = next(one for one in ours if str(server.port) in one.cmdline())
    return [first, *first.children(recursive=True)]
