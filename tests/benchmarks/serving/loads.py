"""Loads, sent by the generator in a process of its own, and what came back."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from lookalike.infra.demo.processes import HOST
from tests.benchmarks.serving.load import OK, Plan, Reply
from tests.benchmarks.serving.servers import Server
from tests.support.servers import ROOT


@dataclass(frozen=True)
class Load:
    """What to send: a folder of requests, for so long, by so many clients or at so many requests a second."""

    requests: Path
    seconds: float
    clients: int = 1
    rate: float | None = None
    hits: bool = False

    def plan(self, server: Server) -> Plan:
        """Return the same for the generator."""
        return Plan(
            host=HOST,
            port=server.port,
            requests=self.requests,
            seconds=self.seconds,
            clients=self.clients,
            rate=self.rate,
            read="hits" if self.hits else "nothing",
        )


@dataclass(frozen=True)
class Result:
    """The answers of one load, without those of the warm-up.

    `served` are all that were good, those of the warm-up included: what a server used meanwhile is for these.
    """

    load: Load
    replies: Sequence[Reply]
    served: int

    @classmethod
    def of(cls, load: Load, replies: Sequence[Reply]) -> Self:
        """Take all answers of a load."""
        counted = [reply for reply in replies if not reply.warms_up]
        return cls(load, counted, sum(reply.status == OK for reply in replies))

    def statuses(self) -> Counter[int]:
        """Return how many answers had which status."""
        return Counter(reply.status for reply in self.replies)

    def rate(self, status: int = OK) -> float:
        """Return answers a second of one status."""
        return self.statuses()[status] / self.load.seconds

    def percentiles(self, status: int = OK) -> tuple[float, float, float]:
        """Return the 50th, 95th and 99th percentile of latency in ms, of answers with one status."""
        return percentiles([reply for reply in self.replies if reply.status == status])


def percentiles(replies: Sequence[Reply]) -> tuple[float, float, float]:
    """Return the 50th, 95th and 99th percentile of latency in ms; NaN without answers."""
    times = [1000 * reply.seconds for reply in replies] or [float("nan")]
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    return float(p50), float(p95), float(p99)


def times_of(replies: Sequence[Reply]) -> dict[str, float]:
    """Return how many of the replies failed, and the percentiles of the others, in ms."""
    good = [reply for reply in replies if reply.status == OK]
    p50, p95, p99 = percentiles(good)
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "failed": len(replies) - len(good)}


def send(server: Server, load: Load) -> Result:
    """Send a load, and wait for the end of it."""
    with sending(server, load) as results:
        pass
    return results[0]


@contextmanager
def sending(server: Server, load: Load) -> Iterator[list[Result]]:
    """Send a load beside what is done within; the list has the result when that has ended."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        plan, output = Path(folder) / "plan.json", Path(folder) / "replies.jsonl"
        plan.write_text(load.plan(server).model_dump_json())
        argv = [sys.executable, "-m", "tests.benchmarks.serving.load", str(plan)]
        with output.open("wb") as file:
            process = subprocess.Popen(argv, stdout=file, cwd=ROOT)
        try:
            yield results
            if process.wait() != 0:
                raise SystemExit("the load generator failed")
        finally:
            process.kill()
            process.wait()
        replies = [Reply.model_validate_json(line) for line in output.read_bytes().splitlines()]
        results.append(Result.of(load, replies))
