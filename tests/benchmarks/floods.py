"""What clients that only send, or only ask, cost a real server: `python -m tests.benchmarks.floods`.

For each attack: the most memory of the server process above what it had before, how many connections it held in the
end, and how good queries fared meanwhile. It ends with an error where an attack costs more than 300 MB, or where fewer
than nine in ten good queries are answered. `--only NAME` runs one attack.
"""

from __future__ import annotations

import argparse
import http.client
import json
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lookalike.data.stores.local import LocalStore
from tests.benchmarks.fuzz import Connection
from tests.support.processes import Server, server
from tests.support.shop import Shop, picture
from tests.support.watched import descriptors, forget_peak, peak, resident

HOST = "127.0.0.1"
MAX_BYTES = 300e6
LEAST_ANSWERED = 0.9
SECONDS = 12.0
"""How long an attack holds on to what it has."""
PAUSE = 0.1
"""Between two good queries."""
PRODUCTS = 1000
DESCRIPTION = 20_000
LARGE_PICTURE = 20_000_000
BODY = 9_900_000


@dataclass
class Good:
    """What became of good queries: seconds of those answered, and what others got."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Which share was answered."""
        return len(self.seconds) / max(1, len(self.seconds) + len(self.failures))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attack cost: bytes of memory at its worst, connections at its end."""

    memory: int
    connections: int
    good: Good

    @property
    def is_harmless(self) -> bool:
        """Whether the server stood it."""
        return self.memory < MAX_BYTES and self.good.share >= LEAST_ANSWERED


@contextmanager
def open_connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Open connections, as many as the server takes; none receives more than the system must buffer."""
    made: list[socket.socket] = []
    try:
        for _ in range(count):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(2)
            with suppress(OSError):
                connection.connect((HOST, port))
                made.append(connection)
        yield made
    finally:
        for connection in made:
            connection.close()


def send_all(connections: list[socket.socket], data: bytes, seconds: float) -> None:
    """Send the same over all of them at once, for as long as the server takes it."""

    def send(connection: socket.socket) -> None:
        connection.settimeout(seconds)
        with suppress(OSError):
            connection.sendall(data)

    with ThreadPoolExecutor(min(200, len(connections) or 1)) as pool:
        list(pool.map(send, connections))


def leave_replies_unread(port: int) -> None:
    """Ask 100 times for a picture of 20 MB, and read nothing."""
    with open_connections(port, 100) as connections:
        send_all(connections, b"GET /v1/products/large/image HTTP/1.1\r\nHost: x\r\n\r\n", 5)
        time.sleep(SECONDS)


def leave_small_replies_unread(port: int) -> None:
    """Ask over 200 connections for lists of products of 2 MB each, twice on each, and read nothing."""
    with open_connections(port, 200) as connections:
        send_all(connections, b"GET /v1/products?limit=100 HTTP/1.1\r\nHost: x\r\n\r\n" * 2, 5)
        time.sleep(SECONDS)


def never_finish_bodies(port: int) -> None:
    """Send 150 bodies of 9.9 MB but for their last byte."""
    head = f"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {BODY}\r\n\r\n"
    with open_connections(port, 150) as connections:
        send_all(connections, head.encode() + bytes(BODY - 1), SECONDS)
        time.sleep(SECONDS / 2)


def never_finish_chunked_bodies(port: int) -> None:
    """Send 150 bodies in chunks whose last never comes."""
    head = (
        b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"%x\r\n%s\r\n" % (100_000, bytes(100_000))
    with open_connections(port, 150) as connections:
        send_all(connections, head + chunk * 99, SECONDS)
        time.sleep(SECONDS / 2)


def pipeline(port: int) -> None:
    """Send 15 MB of GETs over each of 5 connections, and read nothing."""
    with open_connections(port, 5) as connections:
        send_all(connections, b"GET /v1/products/a HTTP/1.1\r\nHost: x\r\n\r\n" * 340_000, SECONDS)


def ask_for_large_batches(port: int) -> None:
    """Ask 16 times at once for what would be 684 MB: 32 queries, 1,000 hits each, descriptions of 20 kB."""
    query = {"product_id": "a", "k": 1000}
    body = json.dumps({"queries": [query] * 32}).encode()

    def ask(_: int) -> None:
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(HOST, port, timeout=30)
            connection.request("POST", "/v1/search/batch", body, {"Content-Type": "application/json"})
            connection.getresponse().read()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))


def hold_connections(port: int, sent: bytes) -> None:
    """Open 1,500 connections, send a beginning over each, and come again where the server hangs up."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with open_connections(port, 1500) as connections:
            send_all(connections, sent, 1)
            time.sleep(min(6.0, max(0.0, end - time.monotonic())))


UPGRADE = (
    b"POST /v1/search HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{"
)
ATTACKS: Mapping[str, Callable[[int], None]] = {
    "100 pictures of 20 MB, unread": leave_replies_unread,
    "400 lists of 2 MB, unread": leave_small_replies_unread,
    "150 bodies of 9.9 MB, unfinished": never_finish_bodies,
    "150 bodies in chunks, unfinished": never_finish_chunked_bodies,
    "75 MB of GETs, pipelined": pipeline,
    "16 batches of 684 MB": ask_for_large_batches,
    "1,500 connections, nothing sent": lambda port: hold_connections(port, b""),
    "1,500 bodies with an offer, unfinished": lambda port: hold_connections(port, UPGRADE),
}


def ask_good_queries(port: int, ended: threading.Event) -> Good:
    """Search by a picture, again and again, each time over a connection of its own."""
    good, data = Good(), picture(1)
    while not ended.wait(PAUSE):
        connection, start = Connection(port), time.monotonic()
        try:
            status, reason = connection.post(data)
        except OSError as error:
            status, reason = 0, type(error).__name__
        finally:
            connection.close()
        if status == 200:
            good.seconds.append(time.monotonic() - start)
        else:
            good.failures.append(f"{status} {reason}".strip())
    return good


def attack(running: Server, run: Callable[[int], None]) -> Outcome:
    """Attack a server while good queries are asked."""
    pid, ended = running.process.pid, threading.Event()
    forget_peak(pid)
    before = resident(pid)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask_good_queries, running.port, ended)
        held = descriptors(pid)
        try:
            run(running.port)
            held = descriptors(pid)
        finally:
            ended.set()
        good = asked.result()
    return Outcome(peak(pid) - before, held, good)


def publish(folder: Path) -> None:
    """Publish products with long descriptions, and one, `large`, with a large picture."""
    pictures = folder / "pictures"
    pictures.mkdir()
    rows = []
    for number in range(PRODUCTS):
        file = pictures / f"{number}.png"
        file.write_bytes(picture(number, (16, 16)))
        attributes = {"description": f"{number} ".ljust(DESCRIPTION, "x")}
        name = {0: "large", 1: "a"}.get(number, str(number))
        rows.append({"id": name, "title": f"Product {number}", "image": str(file), "attributes": attributes})
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.point_at(shop.build_rows(rows))
    with (pictures / "0.png").open("ab") as large:
        large.write(bytes(LARGE_PICTURE))


def main() -> None:
    """Run all attacks, each on a server of its own, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=ATTACKS, help="one attack")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    broken = []
    sys.stdout.write(f"{'':<42}{'memory':>10} {'open':>6} {'good queries':>14} {'slowest':>10}\n")
    with tempfile.TemporaryDirectory(prefix="lookalike-floods-") as name:
        folder = Path(name)
        publish(folder)
        for title, run in ATTACKS.items():
            if options.only in (None, title):
                resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # as most systems give a process
                with server(folder, LOOKALIKE_LOG_LEVEL="error") as running:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
                    running.wait(lambda state: state["ready"])
                    Connection(running.port).post(picture(1))
                    found = attack(running, run)
                _print(title, found)
                broken += [] if found.is_harmless else [title]
    sys.exit(f"not stood: {', '.join(broken)}" if broken else 0)


def _print(title: str, found: Outcome) -> None:
    good = found.good
    answered = f"{len(good.seconds)} of {len(good.seconds) + len(good.failures)}"
    slowest = f"{1000 * max(good.seconds, default=0):,.0f} ms"
    sys.stdout.write(f"{title:<42}{found.memory / 1e6:>7.1f} MB {found.connections:>6} {answered:>14} {slowest:>10}\n")
    for failure in sorted(set(good.failures)):
        sys.stdout.write(f"{'':<42}{good.failures.count(failure)} x {failure}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
