"""Searches by picture, at 1 to 128 clients: ours, the bare encoder, a prototype, and Jina."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from tests.benchmarks.serving import queries, servers
from tests.benchmarks.serving.load import OK
from tests.benchmarks.serving.loads import Load, Result, send
from tests.benchmarks.serving.peers.engine import Engine
from tests.benchmarks.serving.servers import Server
from tests.benchmarks.serving.shops import Shop

CLIENTS = (1, 8, 32, 128)
PICTURES = 512  # more than clients, so that no two ask for the same picture at a time
BARE_BATCHES = (1, 4, 16)
OPEN_LOOP = (0.5, 0.7, 0.9)  # of what 32 clients were answered


def measure(pictures: Path, shop: Shop, folder: Path, seconds: float, jina: Path | None) -> None:
    """Print a table of all systems and numbers of clients, and ours in open loop."""
    shop.write_engine(shop.published(), folder / "engine")
    images = queries.pictures(pictures, PICTURES)
    forms = queries.write(folder / "forms", queries.multipart(images))
    threads = os.cpu_count() or 1
    engine = Engine(folder / "engine", threads=threads)
    sys.stdout.write(f"{len(images)} JPEGs of {sum(map(len, images)) / len(images) / 1000:.0f} kB, {threads} cores\n\n")
    sys.stdout.write(f"{'':<12}{'clients':>8}{'q/s':>8}{'p50':>8}{'p95':>8}{'p99':>8} ms   of bare\n")
    environment = {"ENGINE": str(folder / "engine"), "THREADS": str(threads)}
    systems: dict[str, tuple[Path, Callable[[], AbstractContextManager[Server]]]] = {
        "Lookalike": (forms, lambda: servers.lookalike(folder, shop.folder / "store")),
        "naive": (forms, lambda: servers.peer("naive", folder, environment)),
    }
    if jina:
        bodies = queries.write(folder / "jina", queries.jina(images))
        systems["Jina"] = (bodies, lambda: servers.jina(jina, folder, environment))
    for name, (requests, start) in systems.items():
        with _between_bare(engine, images, seconds) as ceiling, start() as server:
            results = [send(server, Load(requests, seconds, clients)) for clients in CLIENTS]
            if name == "Lookalike":
                _print_open(server, requests, seconds, results[CLIENTS.index(32)].rate())
        for result in results:
            _print(name, result, ceiling())


@contextmanager
def _between_bare(engine: Engine, images: list[bytes], seconds: float) -> Iterator[Callable[[], float]]:
    """Measure the bare encoder before and after; yield what gives the mean of both, in pictures a second."""
    pixels = np.stack([engine.encoder.prepare(image) for image in images[: max(BARE_BATCHES)]])
    rates = [_bare(engine, pixels, seconds)]
    yield lambda: sum(rates) / len(rates)
    rates.append(_bare(engine, pixels, seconds))
    sys.stdout.write(f"{'bare encoder':<20}{rates[0]:>8.1f} before, {rates[1]:.1f} after\n")


def _bare(engine: Engine, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], seconds: float) -> float:
    """Return the pictures a second of the encoder alone at its best batch size, fed pixels that are ready."""
    best = 0.0
    for size in BARE_BATCHES:
        start, done = time.monotonic(), 0
        while time.monotonic() - start < seconds / len(BARE_BATCHES):
            engine.encoder.infer(pixels[:size])
            done += size
        best = max(best, done / (time.monotonic() - start))
    return best


def _print(name: str, result: Result, ceiling: float) -> None:
    p50, p95, p99 = result.percentiles()
    failed = sum(count for status, count in result.statuses().items() if status != OK)
    sys.stdout.write(
        f"{name:<12}{result.load.clients:>8}{result.rate():>8.1f}{p50:>8.0f}{p95:>8.0f}{p99:>8.0f}"
        f"{result.rate() / ceiling:>12.2f}{f'   {failed} failed' if failed else ''}\n"
    )
    sys.stdout.flush()


def _print_open(server: Server, requests: Path, seconds: float, capacity: float) -> None:
    sys.stdout.write("Lookalike in open loop:\n")
    for share in OPEN_LOOP:
        result = send(server, Load(requests, seconds, rate=share * capacity))
        p50, p95, p99 = result.percentiles()
        sys.stdout.write(
            f"  {share:.0%} of {capacity:.1f}/s: {result.rate():.1f} q/s, "
            f"p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms, {dict(result.statuses())}\n"
        )
