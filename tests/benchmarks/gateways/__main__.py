"""What each gateway costs, all on one server and in one run:

    python -m tests.benchmarks.gateways [--seconds 3] [--rounds 3] [--products 500]

A server with one worker has a core, and the client the other one, where there are two. Queries by product, vector and
picture are asked over 1, 100 and 500 connections, with one query under way on each; then 32 at a time, over one
connection where the protocol lets them. The gateways take turns in each round, so that other work on the machine
touches all alike. Before, one answer of each is compared with REST's. The encoder is `fake`: it costs little, so that
what the gateways cost is seen.

The steadiest figure is the rate per second of a core of the server: neither the client nor other work is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from tests.benchmarks.gateways.queries import Query, make_queries
from tests.benchmarks.gateways.tables import UNDER_WAY_SAID, Figures, table
from tests.benchmarks.gateways.ways import ALONE, TOGETHER, Way
from tests.benchmarks.results import add_output, write_result
from tests.support.processes import server
from tests.support.shop import Shop

CONNECTIONS = (1, 100, 500)
UNDER_WAY = 32
SETTINGS = {
    "WORKERS": "1",
    "STREAM__ENABLED": "true",
    "GRAPHQL__ENABLED": "true",
    # nothing is refused or given twice: each query is answered, and each picture embedded
    "BATCHING__CACHED_VECTORS": "0",
    "BATCHING__QUEUE_SIZE": "4096",
    "LIMITS__REQUEST_SECONDS": "120",
    "STREAM__STREAMS": "1024",
    "STREAM__PER_CALLER": "1024",
    "GRPC__CALLS": "1024",
}


@dataclass(frozen=True, slots=True)
class Served:
    """A server that answers by all gateways."""

    port: int
    grpc_port: int
    process: psutil.Process

    def core_seconds(self) -> float:
        """Return the seconds of a core that it has used."""
        used = self.process.cpu_times()
        return float(used.user + used.system)


@dataclass(slots=True)
class Cell:
    """What came of the queries of one gateway: milliseconds for each, and what they took together."""

    milliseconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    core_seconds: float = 0.0

    def figures(self) -> dict[str, float]:
        """Return answers in a second of a core, and of the clock, and two times in milliseconds."""
        count = len(self.milliseconds)
        p50, p99 = np.percentile(self.milliseconds, [50, 99])
        return {
            "core_rate": count / self.core_seconds,
            "rate": count / self.seconds,
            "p50_ms": float(p50),
            "p99_ms": float(p99),
        }


@contextmanager
def serve(folder: Path, products: int) -> Iterator[Served]:
    Shop(LocalStore(folder / "store"), folder).publish(products)
    grpc_port = free_port()
    settings = {**SETTINGS, "GRPC__PORT": str(grpc_port)}
    with server(folder, **{f"LOOKALIKE_{name}": value for name, value in settings.items()}) as running:
        running.wait(lambda state: state["ready"])
        yield Served(running.port, grpc_port, psutil.Process(running.process.pid))


async def check_answers(served: Served, queries: Mapping[str, Sequence[Query]]) -> None:
    """Compare an answer of each way with REST's. Raises AssertionError."""
    for kind, some in queries.items():
        found: dict[str, list[str]] = {}
        for name, way in (*ALONE, *TOGETHER):
            async with AsyncExitStack() as stack:
                asking = way(served.port, served.grpc_port)
                await asking.open(1, stack)
                found[name] = asking.read_ids(await asking.ask(0, 0, some[0]))
        assert len(found["REST"]) == 10, found
        assert all(ids == found["REST"] for ids in found.values()), (kind, found)


async def measure(served: Served, way: Way, places: int, queries: Iterator[tuple[int, Query]], seconds: float) -> Cell:
    """Ask from all places for so many seconds, and wait for what is under way then."""
    cell = Cell()
    async with AsyncExitStack() as stack:
        await way.open(places, stack)
        await asyncio.gather(*(way.ask(place, *next(queries)) for place in range(places)))  # warm-up
        began, used = time.perf_counter(), served.core_seconds()

        async def ask(place: int) -> None:
            while (start := time.perf_counter()) < began + seconds:
                await way.ask(place, *next(queries))
                cell.milliseconds.append(1000 * (time.perf_counter() - start))

        await asyncio.gather(*(ask(place) for place in range(places)))
        cell.seconds = time.perf_counter() - began
        cell.core_seconds = served.core_seconds() - used
    return cell


async def compare(
    served: Served,
    ways: Sequence[tuple[str, type[Way]]],
    places: int,
    queries: Iterator[tuple[int, Query]],
    *,
    seconds: float,
    rounds: int,
) -> Mapping[str, Cell]:
    """Measure all ways in turn, in another order in each round."""
    cells: dict[str, Cell] = defaultdict(Cell)
    for number in range(rounds):
        turn = number % len(ways)
        for name, way in (*ways[turn:], *ways[:turn]):
            one = await measure(served, way(served.port, served.grpc_port), places, queries, seconds)
            cells[name].milliseconds += one.milliseconds
            cells[name].seconds += one.seconds
            cells[name].core_seconds += one.core_seconds
    return cells


async def compare_all(served: Served, queries: Mapping[str, Sequence[Query]], seconds: float, rounds: int) -> Figures:
    """Return what came of each kind of query, by each way, over all numbers of connections."""
    await check_answers(served, queries)
    numbered = {kind: enumerate(itertools.cycle(some), 1) for kind, some in queries.items()}
    found: Figures = {}
    for places, ways in (*((count, ALONE) for count in CONNECTIONS), (UNDER_WAY, TOGETHER)):
        what = _say_places(places, together=ways is TOGETHER)
        found[what] = {name: {} for name, _ in ways}
        for kind, asked in numbered.items():
            cells = await compare(served, ways, places, asked, seconds=seconds, rounds=rounds)
            for name, _ in ways:
                found[what][name][kind] = cells[name].figures()
        sys.stderr.write(f"{what}: done, load average {os.getloadavg()[0]:.1f}\n")
    return found


def _say_places(places: int, *, together: bool) -> str:
    if together:
        return f"{places} queries under way, {UNDER_WAY_SAID}"
    return f"{places} connections" if places > 1 else "1 connection"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="For each gateway in each round.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--products", type=int, default=500)
    add_output(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-gateways-") as folder:
        if (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(0, {0})
        with serve(Path(folder), given.products) as served:
            if (os.cpu_count() or 1) > 1:
                os.sched_setaffinity(0, {1})
            figures = asyncio.run(compare_all(served, make_queries(given.products), given.seconds, given.rounds))
    sys.stdout.write(f"{table(figures)}\n")
    if given.output:
        write_result(given.output, figures)


if __name__ == "__main__":
    main()
