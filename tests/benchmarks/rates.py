"""What requests cost in two checkouts of the repository, in turn in one run: the time of a core, and of a client.

    python -m tests.benchmarks.rates BEFORE AFTER [--rounds 10]

Each checkout builds its own small shop and serves it. One client asks, so that a server never waits for a core.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from lookalike.infra.demo.processes import HOST, Service, Services, free_port
from tests.support.servers import answers
from tests.support.shop import picture

PRODUCTS = 26
BUILD = """
import sys
from pathlib import Path
from lookalike.data.stores.local import LocalStore
from tests.support.shop import Shop
folder = Path(sys.argv[1])
Shop(LocalStore(folder / "store"), folder).publish(int(sys.argv[2]))
"""


@dataclass(frozen=True)
class Cost:
    """What one request cost, in milliseconds."""

    core_ms: float
    wall_ms: float


@dataclass(frozen=True)
class Served:
    """A running server."""

    port: int
    process: psutil.Process


@contextmanager
def serve(checkout: Path, folder: Path) -> Iterator[Served]:
    """Build a shop with the code of a checkout, and serve it with that code."""
    folder.mkdir()
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "PYTHONSAFEPATH": "1",
        "LOOKALIKE_CACHE": str(folder / "cache"),
        "LOOKALIKE_BATCHING__CACHED_VECTORS": "0",
    }
    build = [sys.executable, "-c", BUILD, str(folder), str(PRODUCTS)]
    subprocess.run(build, env=environment, cwd=checkout, check=True)
    service = Service(
        f"server of {checkout}",
        [sys.executable, "-m", "lookalike", "serve", "--store", str(folder / "store"), "--port", str(port)],
        environment,
        folder / "serve.log",
        ready=lambda: answers(f"http://{HOST}:{port}/readyz"),
    )
    with Services(checkout) as services:
        services.start(service)
        services.wait_ready(service)
        (server,) = (one for one in psutil.net_connections("tcp") if one.laddr.port == port and one.status == "LISTEN")
        yield Served(port, psutil.Process(server.pid))


def requests() -> Mapping[str, Sequence[bytes | None]]:
    """Return the bodies of the requests of each kind; None is a bare GET."""
    by_product = json.dumps({"product_id": "a", "k": 5, "filter": ["price<=50"]}).encode()
    by_vector = json.dumps({"vector": [0.1 + 0.01 * (place % 9) for place in range(192)], "k": 5}).encode()
    pictures = [base64.b64encode(picture(seed)).decode() for seed in range(100)]
    by_picture = [json.dumps({"image": one, "k": 5}).encode() for one in pictures]
    return {"bare GET": [None] * 300, "product": [by_product] * 200, "vector": [by_vector] * 200, "picture": by_picture}


def measure(server: Served, bodies: Sequence[bytes | None]) -> Cost:
    """Send requests over one connection, one after the other."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=60)
    before, start = server.process.cpu_times(), time.perf_counter()
    for body in bodies:
        if body is None:
            connection.request("GET", "/livez")
        else:
            connection.request("POST", "/v1/search", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        assert reply.status == http.client.OK, text
    wall, after = time.perf_counter() - start, server.process.cpu_times()
    connection.close()
    core = after.user + after.system - before.user - before.system
    return Cost(1000 * core / len(bodies), 1000 * wall / len(bodies))


def compare(before: Served, after: Served, rounds: int) -> Iterator[str]:
    """Yield a line for each kind of request. The first round warms up and does not count."""
    for kind, bodies in requests().items():
        pairs = []
        for number in range(rounds + 1):
            if number % 2:
                pairs.append((measure(before, bodies), measure(after, bodies)))
            else:
                last = measure(after, bodies)
                pairs.append((measure(before, bodies), last))
        pairs = pairs[1:]
        core = [statistics.mean(pair[side].core_ms for pair in pairs) for side in (0, 1)]
        ratios = sorted(new.wall_ms / old.wall_ms for old, new in pairs)
        yield (
            f"{kind:<9} core {core[0]:.2f} -> {core[1]:.2f} ms ({core[1] / core[0]:.2f} times); "
            f"wall {statistics.median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-rates-") as name, ExitStack() as stack:
        before = stack.enter_context(serve(options.before.resolve(), Path(name) / "before"))
        after = stack.enter_context(serve(options.after.resolve(), Path(name) / "after"))
        for line in compare(before, after, options.rounds):
            sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
