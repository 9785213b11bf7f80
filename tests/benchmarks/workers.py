"""What several worker processes stand: `python -m tests.benchmarks.workers kill|cold|slow`.

kill: `kill -9` of a worker under load; only requests that it held may be lost, and it comes back.
cold: workers start at once on one empty cache; all serve the same snapshot, each blob whole.
slow: half-open clients that send a byte a second, in a request's head and after a refusal; a good client is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from lookalike.data.stores.local import LocalStore
from lookalike.serving.access.keys import add_key, create_key
from lookalike.serving.context import AccessScope
from lookalike.serving.server.connections import HEAD_SECONDS
from tests.benchmarks.fuzz import Connection
from tests.support.client import wait_for
from tests.support.processes import Server, server
from tests.support.shop import Shop, picture
from tests.support.watched import descriptors, resident

WORKERS = 3
CONNECTIONS = 12
CLIENTS = 500
STARTED = "Application startup complete"


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the load: seconds since the epoch, the client's port, the status (0: no answer)."""

    began: float
    ended: float
    port: int
    status: int


def load(port: int, seconds: float, headers: dict[str, str] | None = None) -> list[Request]:
    """Search without a pause over several connections."""
    end = time.time() + seconds

    def ask(number: int) -> list[Request]:
        connection, made = Connection(port, headers), []
        while time.time() < end:
            began = time.time()
            held = connection.local_port()
            status, _ = connection.post(picture(number % 10)) if held else (0, "")
            made.append(Request(began, time.time(), held, status))
            number += 1
        connection.close()
        return made

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return [one for some in pool.map(ask, range(CONNECTIONS)) for one in some]


@contextmanager
def loaded(port: int, seconds: float, headers: dict[str, str] | None = None) -> Iterator[Callable[[], list[Request]]]:
    """Load from a process of its own; what is yielded waits for its end."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        running = pool.apply_async(load, (port, seconds, headers))
        yield lambda: running.get(seconds + 60)


def workers_of(running: Server) -> list[psutil.Process]:
    """Return the processes that serve."""
    children = psutil.Process(running.process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def held_by(worker: psutil.Process) -> set[int]:
    """Return the clients' ports of the connections that a worker has."""
    return {found.raddr.port for found in worker.net_connections("tcp4") if found.raddr}


def percentile(requests: Sequence[Request], share: float) -> float:
    """Return milliseconds."""
    return float(np.percentile([1000 * (one.ended - one.began) for one in requests], share)) if requests else 0.0


def kill(folder: Path, seconds: float) -> str:
    """Kill one of the workers while all are asked."""
    with server(folder, LOOKALIKE_WORKERS=str(WORKERS)) as running:
        wait_for(lambda: running.log.count(STARTED), lambda count: count == WORKERS, 60)
        running.wait(lambda state: state["ready"])
        time.sleep(3)  # all of them, not only the one that answered
        with loaded(running.port, seconds) as finish:
            time.sleep(seconds / 3)
            victim = workers_of(running)[0]
            victim.suspend()  # it takes no more connections while they are counted
            held, killed = held_by(victim), time.time()
            victim.kill()
            wait_for(lambda: running.log.count(STARTED), lambda count: count == WORKERS + 1, 60)
            back = time.time() - killed
            requests = finish()
        count = len(workers_of(running))
    lost = [one for one in requests if one.status != 200]
    during = [one for one in requests if one.status == 200 and killed <= one.began <= killed + back]
    before = [one for one in requests if one.status == 200 and one.ended < killed]
    statuses = dict(Counter(one.status for one in requests))
    assert count == WORKERS, f"there are {count} workers"
    assert {one.status for one in lost} <= {0}, f"answers other than 200: {statuses}"
    assert {one.port for one in lost} <= held, "a request was lost that the dead worker did not hold"
    assert during, "nobody answered while a worker was away"
    return (
        f"{len(requests):,} requests over {CONNECTIONS} connections, {len(held)} of them at the worker that died; "
        f"{len(lost)} lost, all of them its own; back after {back:.1f} s; p99 {percentile(before, 99):.0f} ms before, "
        f"{percentile(during, 99):.0f} ms meanwhile ({len(during):,} answers)"
    )


def cold(folder: Path, seconds: float) -> str:
    """Let workers start on one empty cache, again and again."""
    rounds, starts, end = 0, [], time.monotonic() + seconds
    cache = folder / "cache"
    while rounds == 0 or time.monotonic() < end:
        rounds += 1
        with server(folder, LOOKALIKE_WORKERS=str(WORKERS), LOOKALIKE_CACHE=str(cache / str(rounds))) as running:
            start = time.monotonic()
            wait_for(lambda running=running: running.log.count(STARTED), lambda count: count == WORKERS, 60)  # type: ignore[misc]
            answers = [wait_for(running.state, lambda state: state["ready"], 60) for _ in range(4 * WORKERS)]
            starts.append(time.monotonic() - start)
            assert len({answer["snapshot"] for answer in answers}) == 1
            assert "refused" not in running.log, running.log
        blobs = [path for path in (cache / str(rounds)).rglob("*") if len(path.name) == 64]
        damaged = [path for path in blobs if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]
        left = list((cache / str(rounds)).rglob("*.tmp*"))
        assert blobs, "no blobs are in the cache"
        assert not damaged, damaged
        assert not left, left
    return (
        f"{rounds} starts of {WORKERS} workers on an empty cache, ready after {max(starts):.1f} s at most: "
        f"{len(blobs)} blobs in it each time, every one whole, nothing half-written left"
    )


def slow(folder: Path, seconds: float) -> str:
    """Hold half-open connections by the hundred, before a request is whole and after it is refused."""
    key, text = create_key("bench", [AccessScope.SEARCH])
    add_key(folder / "keys.json", key)
    headers = {"Authorization": f"Bearer {text}"}
    lines = []
    with server(folder, LOOKALIKE_ACCESS__KEYS_FILE=str(folder / "keys.json")) as running:
        running.wait(lambda state: state["ready"])
        pid = running.process.pid
        with loaded(running.port, seconds / 3, headers) as finish:
            lines.append(f"without them: p99 {percentile(finish(), 99):.0f} ms")
        for name, first in (
            ("in the head", b"GET / HTTP/1.1\r\nX-Slow: "),
            ("after a refusal", b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"),
        ):
            before = resident(pid), descriptors(pid)
            with loaded(running.port, HEAD_SECONDS + seconds / 3, headers) as finish:
                held, most, lasted = asyncio.run(drip(running, first, HEAD_SECONDS + 5))
                requests = finish()
            assert {one.status for one in requests} == {200}, Counter(one.status for one in requests)
            assert held == 0, f"{held} are still connected"
            wait_for(lambda: descriptors(pid), lambda now, before=before: now <= before[1] + CONNECTIONS, 30)  # type: ignore[misc]
            lines.append(
                f"{CLIENTS} {name}: a good client's p99 {percentile(requests, 99):.0f} ms, "
                f"{(most - before[0]) / 1e6:+.1f} MB at most, all hung up on after {lasted:.1f} s"
            )
    return "; ".join(lines)


async def drip(running: Server, first: bytes, seconds: float) -> tuple[int, int, float]:
    """Send a byte a second over each of many connections.

    Returns:
        How many are open at the end, the most memory of the server meanwhile, and how long the last one lasted.
    """
    streams = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(CLIENTS)]
    start, most, lasted = time.monotonic(), 0, 0.0
    for _, writer in streams:
        writer.write(first)
    ended = [asyncio.ensure_future(_until_the_end(reader)) for reader, _ in streams]
    while time.monotonic() - start < seconds and not all(one.done() for one in ended):
        for (_, writer), end in zip(streams, ended, strict=True):
            if not end.done():
                with suppress(OSError):
                    writer.write(b"x")
        most, lasted = max(most, resident(running.process.pid)), time.monotonic() - start
        await asyncio.sleep(1)
    left = sum(not one.done() for one in ended)
    for (_, writer), end in zip(streams, ended, strict=True):
        end.cancel()
        writer.close()
    return left, most, lasted


async def _until_the_end(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(4096):
            pass


CHECKS: dict[str, Callable[[Path, float], str]] = {"kill": kill, "cold": cold, "slow": slow}


def main() -> None:
    """Run one check, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("check", choices=[*CHECKS, "all"])
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    for name in CHECKS if options.check == "all" else [options.check]:
        with tempfile.TemporaryDirectory(prefix="lookalike-workers-") as folder:
            Shop(LocalStore(Path(folder) / "store"), Path(folder)).publish(24)
            sys.stdout.write(f"{name}: {CHECKS[name](Path(folder), options.seconds)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
