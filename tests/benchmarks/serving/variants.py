"""What was tried to bring searches by picture nearer to the encoder's own rate: settings, measured side by side."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.results import spread, write_table
from tests.benchmarks.serving import queries, servers
from tests.benchmarks.serving.costs import Costs
from tests.benchmarks.serving.images import BARE_BATCHES, PICTURES, bare_rate
from tests.benchmarks.serving.loads import Load, send
from tests.benchmarks.serving.peers.engine import Engine
from tests.benchmarks.serving.servers import Server
from tests.benchmarks.serving.shops import Shop

CLIENTS = 32
ROUNDS = 5
SHOWN = ("decode", "encode", "search")
BLAS = "OPENBLAS_NUM_THREADS"


def _settings(lanes: int, max_batch: int, encoder_threads: int | None = None) -> dict[str, str]:
    batching = {"LANES": lanes, "MAX_BATCH": max_batch, "ENCODER_THREADS": encoder_threads}
    return {f"LOOKALIKE_BATCHING__{name}": str(value) for name, value in batching.items() if value}


VARIANTS: Mapping[str, Mapping[str, str]] = {
    "the default: three batches of 2, one thread each when several run": {},
    "two batches of 2, one thread each when several run": _settings(2, 2),
    "three batches of 1, one thread each when several run": _settings(3, 1),
    "four batches of 2, one thread each when several run": _settings(4, 2),
    "the default, and a BLAS thread for each core": {BLAS: str(os.cpu_count())},
    "one batch of 4 at a time, and a BLAS thread for each core": {**_settings(1, 4), BLAS: str(os.cpu_count())},
    "one batch of 4 at a time": _settings(1, 4),
    "one batch of 8 at a time": _settings(1, 8),
    "two batches of 1 at a time": _settings(2, 1),
    "two batches of 4 at a time": _settings(2, 4),
    "two batches of 1, with one thread each": _settings(2, 1, 1),
    "three batches of 2, with one thread each": _settings(3, 2, 1),
}


def measure(pictures: Path, shop: Shop, folder: Path, seconds: float) -> dict[str, Any]:
    """Return the queries a second of each as shares of the bare encoder's in the same round, and what they cost."""
    shop.write_engine(shop.published(), folder / "engine")
    images = queries.pictures(pictures, PICTURES)
    forms = queries.write(folder / "forms", queries.multipart(images))
    engine = Engine(folder / "engine", threads=os.cpu_count() or 1)
    pixels = np.stack([engine.encoder.prepare(image) for image in images[: max(BARE_BATCHES)]])
    shares, served, costs = defaultdict[str, list[float]](list), defaultdict[str, int](int), dict[str, Costs]()
    with ExitStack() as stack:
        running = {name: stack.enter_context(_running(folder, number, shop)) for number, name in enumerate(VARIANTS)}
        for round_ in range(ROUNDS + 1):
            bare = bare_rate(engine, pixels, seconds / ROUNDS)
            for name, server in running.items():
                before = Costs.of(server)
                result = send(server, Load(forms, seconds / ROUNDS, CLIENTS))
                if round_:  # the first one warms up
                    shares[name].append(result.rate() / bare)
                    served[name] += result.served
                    used = Costs.of(server) - before
                    costs[name] = costs[name] + used if name in costs else used
    return {
        name: {
            "shares": some,
            "core_ms": costs[name].processor_ms(served[name]),
            "stages_ms": costs[name].means(),
        }
        for name, some in shares.items()
    }


def table(figures: dict[str, Any]) -> str:
    """Return a row for each setting, as Markdown."""
    columns = ["batches at a time", f"of bare, {CLIENTS} clients", "core, ms", *SHOWN]
    rows = [
        [
            name,
            spread(one["shares"], 2),
            f"{one['core_ms']:.1f}",
            *(f"{one['stages_ms'].get(stage, 0):.0f}" for stage in SHOWN),
        ]
        for name, one in figures.items()
    ]
    return write_table(columns, rows)


def _running(folder: Path, number: int, shop: Shop) -> AbstractContextManager[Server]:
    own = folder / str(number)
    own.mkdir()
    return servers.lookalike(own, shop.folder / "store", list(VARIANTS.values())[number])
