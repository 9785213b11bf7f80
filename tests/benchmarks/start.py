"""From the start of a server process until it answers, from a warm and from an empty cache.

    python -m tests.benchmarks.start [--products 100000] [--latency-ms 15] [--rounds 5] [--output FILE]
        [--program …/bin/lookalike …]

Products are made, as in `tests.benchmarks.scale`. The store is SeaweedFS behind a line on which every answer takes
`--latency-ms` longer. Modules are compiled, as in an image. `loop` is the time of ten million additions in plain
Python, before and after: it says how fast the machine is on this day, and how much of a core was free. What the image
of a server has can be installed into another environment, whose `bin/lookalike` is then the `--program`: with
`pip install --no-deps -r requirements/serve.lock`, then `pip install --no-deps .`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.results import add_output, spread, write_result, write_table
from tests.benchmarks.scale.build import Builder
from tests.support.processes import PROGRAM, Server, server
from tests.support.seaweedfs import BUCKET, HOST, running_seaweedfs, s3_environment
from tests.support.watched import processor_seconds

CHUNK = 2**16
LONGEST = 300.0


def measure(folder: Path, store: str, snapshot: str, rounds: int, program: str) -> dict[str, Any]:
    """Start servers one after the other; return what each took. The first one, which compiles modules, is left out."""
    folder.mkdir()
    _start(folder / "first", store, snapshot, program)
    cold = [_start(folder / f"cold-{number}", store, snapshot, program) for number in range(rounds)]
    for number in range(rounds - 1):
        shutil.rmtree(folder / f"cold-{number}")
    warm = [_start(folder / f"cold-{rounds - 1}", store, snapshot, program) for _ in range(rounds)]
    return {"empty_cache": _describe(cold), "warm_cache": _describe(warm)}


def _describe(starts: list[tuple[float, float]]) -> dict[str, Any]:
    wall, processor = zip(*starts, strict=True)
    return {"seconds": [round(one, 2) for one in wall], "cpu_seconds": [round(one, 2) for one in processor]}


def _start(folder: Path, store: str, snapshot: str, program: str) -> tuple[float, float]:
    """Return the seconds, and those of processors, until a server answers."""
    folder.mkdir(exist_ok=True)
    began = time.monotonic()
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder.parent / "compiled")}
    with server(folder, program=program, LOOKALIKE_STORE=store, **compiled) as running:
        _wait_for(running, snapshot, began)
        return time.monotonic() - began, processor_seconds(running.process.pid)


def _wait_for(running: Server, snapshot: str, began: float) -> None:
    while time.monotonic() < began + LONGEST:
        if running.state().get("snapshot") == snapshot:
            return
        time.sleep(0.02)
    raise SystemExit(f"no server within {LONGEST:.0f} s: {running.log[-2000:]}")


@contextmanager
def slow_line(endpoint: str, seconds: float) -> Iterator[str]:
    """Pass on connections to an endpoint; what comes back arrives `seconds` later. Yield the address to use instead."""
    there = urlsplit(endpoint)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(there.hostname, there.port)
            await asyncio.gather(_pass_on(reader, far_writer, 0), _pass_on(far_reader, writer, seconds))

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(join, HOST, 0)

    listener = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    try:
        yield f"http://{HOST}:{listener.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(listener.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Write what is read, `seconds` after it came: a line that is slow to answer is not a narrow one."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)

    async def write() -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    async def read() -> None:
        while data := await reader.read(CHUNK):
            await under_way.put((time.monotonic() + seconds, data))
        await under_way.put((0.0, b""))

    with suppress(OSError):
        await asyncio.gather(write(), read())


def time_loop() -> dict[str, float]:
    """Return the seconds of ten million additions, and those of the processor."""
    began, processor = time.perf_counter(), time.process_time()
    total = 0
    for number in range(10_000_000):
        total += number
    seconds = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - processor}
    return {name: round(value, 2) for name, value in seconds.items()}


def table(figures: dict[str, Any]) -> str:
    """Return a row for each program and state of its cache, as Markdown."""
    rows = [
        [
            f"from {'a warm' if kind == 'warm_cache' else 'an empty'} cache, `{program}`",
            spread(one[kind]["seconds"], 2),
            spread(one[kind]["cpu_seconds"], 2),
        ]
        for program, one in figures["starts"].items()
        for kind in ("warm_cache", "empty_cache")
    ]
    columns = [f"{figures['products']:,} products", "by the clock, s", "of a core, s"]
    loops = " and ".join(f"{loop['seconds']:.2f}" for loop in figures["loop"])
    return (
        f"{write_table(columns, rows)}\n\nThe snapshot has {figures['bytes'] / 1e6:.0f} MB. Each answer of the store "
        f"is {figures['latency_ms']:.0f} ms late. The loop took {loops} s before and after."
    )


def main() -> None:
    """Do it, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--latency-ms", type=float, default=15.0, help="by which each answer of the store is later")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each kind")
    parser.add_argument(
        "--program",
        nargs="+",
        default=[PROGRAM],
        help="`lookalike` of each environment to measure, one after the other",
    )
    add_output(parser)
    given = parser.parse_args()
    store = f"s3://{BUCKET}/start"
    with (
        tempfile.TemporaryDirectory(prefix="lookalike-start-") as folder,
        running_seaweedfs() as seaweedfs,
        s3_environment(seaweedfs),
    ):
        builder = Builder(store, os.cpu_count() or 1, kept=Path(folder) / "steps", words=False, kind=None)
        manifest = builder.build(given.products)
        with slow_line(seaweedfs.endpoint, given.latency_ms / 1000) as address:
            os.environ["AWS_ENDPOINT_URL"] = address
            loops = [time_loop()]
            figures = {
                os.path.relpath(program): measure(Path(folder) / str(number), store, manifest.id, given.rounds, program)
                for number, program in enumerate(given.program)
            }
            loops.append(time_loop())
    size = sum(shard.index.size + shard.products.size for shard in manifest.shards)
    described = {"loop": loops, "products": given.products, "bytes": size, "latency_ms": given.latency_ms}
    measured = {**described, "starts": figures}
    sys.stdout.write(f"{table(measured)}\n")
    if given.output:
        write_result(given.output, measured)


if __name__ == "__main__":
    main()
