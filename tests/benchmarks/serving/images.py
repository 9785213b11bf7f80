"""Searches by picture, at 1 to 128 clients: ours, the bare encoder, a prototype, and Jina."""

from __future__ import annotations

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.results import percent, spread, write_table
from tests.benchmarks.serving import queries, servers
from tests.benchmarks.serving.loads import Load, Result, send, times_of
from tests.benchmarks.serving.peers.engine import Engine
from tests.benchmarks.serving.servers import Server
from tests.benchmarks.serving.shops import Shop

CLIENTS = (1, 8, 32, 128)
BUSY = 32
PICTURES = 512  # more than clients, so that no two ask for the same picture at a time
BARE_BATCHES = (1, 4, 16)
ROUNDS = 5
OPEN_LOOP = (0.5, 0.7, 0.9)  # of what 32 clients were answered
OURS = "Lookalike"


def measure(pictures: Path, shop: Shop, folder: Path, seconds: float, jina: Path | None) -> dict[str, Any]:
    """Return the rates and times of all systems and numbers of clients, and ours in open loop."""
    shop.write_engine(shop.published(), folder / "engine")
    images = queries.pictures(pictures, PICTURES)
    forms = queries.write(folder / "forms", queries.multipart(images))
    threads = os.cpu_count() or 1
    engine = Engine(folder / "engine", threads=threads)
    environment = {"ENGINE": str(folder / "engine"), "THREADS": str(threads)}
    systems: dict[str, tuple[Path, Callable[[], AbstractContextManager[Server]]]] = {
        OURS: (forms, lambda: servers.lookalike(folder, shop.folder / "store")),
        "naive": (forms, lambda: servers.peer("naive", folder, environment)),
    }
    if jina:
        bodies = queries.write(folder / "jina", queries.jina(images))
        systems["Jina"] = (bodies, lambda: servers.jina(jina, folder, environment))
    with ExitStack() as stack:
        running = {name: (requests, stack.enter_context(start())) for name, (requests, start) in systems.items()}
        figures = _measure_in_turn(running, engine, images, seconds / ROUNDS)
        requests, server = running[OURS]
        capacity = send(server, Load(requests, seconds, BUSY)).rate()
        opened = [_open(server, requests, seconds, share, capacity) for share in OPEN_LOOP]
    return {
        "pictures": len(images),
        "bytes": round(statistics.mean(map(len, images))),
        **figures,
        "open_loop": {"capacity": capacity, "loads": opened},
    }


def _measure_in_turn(
    running: dict[str, tuple[Path, Server]], engine: Engine, images: list[bytes], seconds: float
) -> dict[str, Any]:
    """Measure all in turn, round by round, so that other work on the machine touches all alike."""
    pixels = np.stack([engine.encoder.prepare(image) for image in images[: max(BARE_BATCHES)]])
    results: dict[tuple[str, int], list[Result]] = defaultdict(list)
    bare: list[float] = []
    alone: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        bare.append(bare_rate(engine, pixels, seconds))
        alone += alone_seconds(engine, images, seconds)
        for clients in CLIENTS:
            for name, (requests, server) in running.items():
                results[name, clients].append(send(server, Load(requests, seconds, clients)))
    decoding, model = (1000 * statistics.median(part) for part in zip(*alone, strict=True))
    return {
        "bare": bare,
        "alone": {"decode_ms": decoding, "model_ms": model},
        "systems": {
            name: {str(clients): _summarise(results[name, clients], bare) for clients in CLIENTS} for name in running
        },
    }


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


def _summarise(rounds: list[Result], bare: list[float]) -> dict[str, Any]:
    rates = [result.rate() for result in rounds]
    return {
        "rates": rates,
        "shares": [rate / ceiling for rate, ceiling in zip(rates, bare, strict=True)],
        **times_of([reply for result in rounds for reply in result.replies]),
    }


def _open(server: Server, requests: Path, seconds: float, share: float, capacity: float) -> dict[str, Any]:
    result = send(server, Load(requests, seconds, rate=share * capacity))
    return {"share": share, "rate": result.rate(), **times_of(result.replies)}


def table(figures: dict[str, Any]) -> str:
    """Return what all systems reached, what one picture takes alone, and ours in open loop, as Markdown."""
    return "\n\n".join([_systems(figures), _alone(figures), _open_loop(figures["open_loop"])])


def _systems(figures: dict[str, Any]) -> str:
    columns = ["", "clients", "q/s", "of bare", "p50, ms", "p95", "p99", "failed"]
    rows = [
        [name, clients, f"{statistics.median(one['rates']):.1f}", spread(one["shares"], 2), *_times(one)]
        for name, loads in figures["systems"].items()
        for clients, one in loads.items()
    ]
    return write_table(columns, rows)


def _times(one: dict[str, Any]) -> list[str]:
    return [*(f"{one[name]:,.0f}" for name in ("p50_ms", "p95_ms", "p99_ms")), str(one["failed"])]


def _alone(figures: dict[str, Any]) -> str:
    alone = figures["alone"]
    bare = ", ".join(f"{rate:.1f}" for rate in figures["bare"])
    rows = [
        [name, f"{loads['1']['p50_ms']:.1f}", f"{share_of_alone(figures, name):.2f}"]
        for name, loads in figures["systems"].items()
    ]
    return (
        f"*Bare*: {bare} pictures/s. One picture alone takes {alone['decode_ms']:.1f} ms to decode and fit, and "
        f"{alone['model_ms']:.1f} ms for the model:\n\n"
        f"{write_table(['', 'p50 at one client, ms', 'of their sum'], rows)}"
    )


def _open_loop(opened: dict[str, Any]) -> str:
    columns = [f"{OURS} in open loop, of {opened['capacity']:.0f} q/s", "q/s", "p50, ms", "p95", "p99", "failed"]
    return write_table(
        columns, [[percent(one["share"]), f"{one['rate']:.1f}", *_times(one)] for one in opened["loads"]]
    )


def share_of_alone(figures: dict[str, Any], name: str) -> float:
    """Return the median of one client, over what decoding and the model take with nothing around them."""
    alone, one = figures["alone"], figures["systems"][name]["1"]
    return float(one["p50_ms"] / (alone["decode_ms"] + alone["model_ms"]))
