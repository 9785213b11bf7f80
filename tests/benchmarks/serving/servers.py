"""The servers that are measured, each a process of its own on a free port."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lookalike.infra.demo.processes import HOST, Service, Services, free_port
from tests.support.servers import BIN, ROOT, answers

PEERS = "tests.benchmarks.serving.peers"
QUIET = {
    "LOOKALIKE_BATCHING__CACHED_VECTORS": "0",  # a benchmark repeats its pictures, customers do not
    "LOOKALIKE_RETAIN_SECONDS": "0",
    "LOOKALIKE_LOG_LEVEL": "warning",
}


@dataclass(frozen=True)
class Server:
    """A server that answers on a port of this machine."""

    port: int

    def samples(self) -> dict[str, float]:
        """Return /metrics: values by name and labels, as they are written there."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/metrics", timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def gauge(self, name: str) -> float:
        """Return a value of its /metrics, without labels."""
        return self.samples()[name]

    @property
    def memory(self) -> float:
        """Resident memory in MB."""
        return self.gauge("process_resident_memory_bytes") / 1e6


@contextmanager
def lookalike(folder: Path, store: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run `lookalike serve` with one worker."""
    port = free_port()
    argv = [str(BIN / "lookalike"), "serve", "--store", str(store), "--port", str(port)]
    env = {"LOOKALIKE_CACHE": str(folder / "cache"), **QUIET, **(environment or {})}
    with _running("Lookalike", argv, env, folder, f"http://{HOST}:{port}/readyz"):
        yield Server(port)


@contextmanager
def peer(name: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Run one of the FastAPI applications in `peers`, by uvicorn as we use it."""
    port = free_port()
    argv = [str(BIN / "uvicorn"), f"{PEERS}.{name}:app", "--port", str(port), "--log-level", "warning"]
    with _running(name, argv, environment, folder, f"http://{HOST}:{port}/readyz"):
        yield Server(port)


@contextmanager
def jina(python: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Run the Jina flow, by a Python that has Jina."""
    port = free_port()
    env = {**environment, "PORT": str(port), "PYTHONPATH": str(ROOT), "JINA_OPTOUT_TELEMETRY": "1"}
    with _running("Jina", [str(python), "-m", f"{PEERS}.jina_flow"], env, folder, f"http://{HOST}:{port}/docs"):
        yield Server(port)


@contextmanager
def _running(name: str, argv: Sequence[str], env: Mapping[str, str], folder: Path, ready: str) -> Iterator[None]:
    log = folder / f"{name}.log"
    service = Service(name, argv, {**os.environ, **env}, log, ready=lambda: answers(ready), ready_s=180)
    with Services(ROOT) as services:
        services.start(service)
        services.wait_ready(service)
        sys.stderr.write(f"{name} is up\n")
        yield
