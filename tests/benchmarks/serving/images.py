"""Searches by picture, at 1 to 128 clients: ours, the bare encoder, a prototype, and Jina."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np

from tests.benchmarks.serving import queries, servers
from tests.benchmarks.serving.load import OK
from tests.benchmarks.serving.loads import Load, Result, percentiles, send
from tests.benchmarks.serving.peers.engine import Engine
from tests.benchmarks.serving.servers import Server
from tests.benchmarks.serving.shops import Shop

CLIENTS = (1, 8, 32, 128)
PICTURES = 512  # more than clients, so that no two ask for the same picture at a time
BARE_BATCHES = (1, 4, 16)
ROUNDS = 3
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
    with ExitStack() as stack:
        running = {name: (requests, stack.enter_context(start())) for name, (requests, start) in systems.items()}
        _measure_in_turn(running, engine, images, seconds)
        requests, server = running["Lookalike"]
        _print_open(server, requests, seconds, send(server, Load(requests, seconds, 32)).rate())


def _measure_in_turn(
    running: dict[str, tuple[Path, Server]], engine: Engine, images: list[bytes], seconds: float
) -> None:
    """Measure all in turn, round by round, so that other work on the machine touches all alike."""
    pixels = np.stack([engine.encoder.prepare(image) for image in images[: max(BARE_BATCHES)]])
    results: dict[tuple[str, int], list[Result]] = defaultdict(list)
    bare: list[float] = []
    alone: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        bare.append(bare_rate(engine, pixels, seconds))
        alone += alone_seconds(engine, images, seconds / ROUNDS)
        for clients in CLIENTS:
            for name, (requests, server) in running.items():
                results[name, clients].append(send(server, Load(requests, seconds / ROUNDS, clients)))
    sys.stdout.write(f"{'bare encoder':<20}{statistics.median(bare):>8.1f}   {[round(one, 1) for one in bare]}\n")
    for (name, clients), rounds in sorted(results.items(), key=lambda item: list(running).index(item[0][0])):
        _print(name, clients, rounds, bare)
    _print_alone(alone, {name: results[name, 1] for name in running})


def bare_rate(engine: Engine, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], seconds: float) -> float:
    """Return the pictures a second of the encoder alone at its best batch size, fed pixels that are ready."""
    best = 0.0
    for size in BARE_BATCHES:
        start, done = time.monotonic(), 0
        while time.monotonic() - start < seconds / len(BARE_BATCHES):
            engine.encoder.infer(pixels[:size])
            done += size
        best = max(best, done / (time.monotonic() - start))
    return best


def alone_seconds(engine: Engine, images: list[bytes], seconds: float) -> list[tuple[float, float]]:
    """Return how long one picture takes to decode and fit, and to encode, with nothing around it."""
    found: list[tuple[float, float]] = []
    start = time.monotonic()
    while (began := time.monotonic()) - start < seconds:
        pixels = engine.encoder.prepare(images[len(found) % len(images)])
        between = time.monotonic()
        engine.encoder.infer(pixels[None])
        found.append((between - began, time.monotonic() - between))
    return found


def _print_alone(alone: list[tuple[float, float]], one_client: dict[str, list[Result]]) -> None:
    decoding, model = (1000 * statistics.median(part) for part in zip(*alone, strict=True))
    sys.stdout.write(f"one picture alone: {decoding:.1f} ms to decode and fit, {model:.1f} ms for the model\n")
    for name, rounds in one_client.items():
        p50 = percentiles([reply for result in rounds for reply in result.replies if reply.status == OK])[0]
        sys.stdout.write(f"  p50 of {name} at one client: {p50:.1f} ms, {p50 / (decoding + model):.2f} of their sum\n")


def _print(name: str, clients: int, rounds: list[Result], bare: list[float]) -> None:
    replies = [reply for result in rounds for reply in result.replies]
    p50, p95, p99 = percentiles([reply for reply in replies if reply.status == OK])
    rate = statistics.median(result.rate() for result in rounds)
    share = statistics.median(result.rate() / ceiling for result, ceiling in zip(rounds, bare, strict=True))
    failed = sum(reply.status != OK for reply in replies)
    sys.stdout.write(
        f"{name:<12}{clients:>8}{rate:>8.1f}{p50:>8.0f}{p95:>8.0f}{p99:>8.0f}{share:>12.2f}"
        f"{f'   {failed} failed' if failed else ''}\n"
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
