"""What pictures made to hurt cost a real server: `python -m tests.benchmarks.bombs`.

For each: the answer, the most memory of the server process above what it had before, and its processor time. Above the
bombs, what a file of 9.9 MB costs that is refused by its first bytes; below, what the largest pictures cost that are
let in. A body of 30 MB without a key ends the table. It ends with an error where a bomb costs 50 MB or 100 ms more than
receiving it.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lookalike.data.stores.local import LocalStore
from lookalike.serving.access.keys import add_key, create_key
from lookalike.serving.context import AccessScope
from tests.benchmarks.fuzz import Connection
from tests.support.bombs import BOMBS, LARGEST
from tests.support.processes import Server, server
from tests.support.shop import Shop, picture
from tests.support.watched import forget_peak, peak, processor_seconds, resident

MAX_BYTES = 50e6
MAX_SECONDS = 0.1
BODY = 30_000_000
UNREADABLE = 9_900_000
SETTLE_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request cost: bytes of memory at its worst, seconds of processors, seconds until the answer."""

    answer: str
    sent: int
    memory: int
    processor: float
    wall: float


def cost(running: Server, data: bytes, repeats: int) -> Cost:
    """Send a picture a few times; return the most memory and the least time that it took."""
    found = [_once(running, data) for _ in range(repeats)]
    return Cost(
        found[0].answer,
        len(data),
        max(one.memory for one in found),
        min(one.processor for one in found),
        min(one.wall for one in found),
    )


def _once(running: Server, data: bytes) -> Cost:
    pid, connection = running.process.pid, Connection(running.port)
    time.sleep(SETTLE_SECONDS)
    forget_peak(pid)
    before, used, start = resident(pid), processor_seconds(pid), time.monotonic()
    status, reason = connection.post(data)
    wall = time.monotonic() - start
    connection.close()
    answer = f"{status}" if status == 200 else f"{status} {reason}"
    return Cost(answer, len(data), max(0, peak(pid) - before), processor_seconds(pid) - used, wall)


def measure(running: Server, made: Mapping[str, Callable[[], bytes]], repeats: int) -> dict[str, Cost]:
    """Measure and print one after the other."""
    found = {}
    for name, make in made.items():
        found[name] = one = cost(running, make(), repeats)
        line = f"{one.memory / 1e6:7.1f} MB {1000 * one.processor:7.0f} ms {1000 * one.wall:7.0f} ms"
        sys.stdout.write(f"{name:<42}{one.sent:>11,} B {line}  {one.answer}\n")
        sys.stdout.flush()
    return found


def large_body(folder: Path) -> str:
    """Send 30 MB without a key, as fast as they go; return the answer and how much of it the server took."""
    key, _ = create_key("bench", [AccessScope.SEARCH])
    add_key(folder / "keys.json", key)
    with server(folder, LOOKALIKE_ACCESS__KEYS_FILE=str(folder / "keys.json")) as running:
        running.wait(lambda state: state["ready"])
        read, start = _read_by(running.process.pid), time.monotonic()
        head = f"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {BODY}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", running.port), 10) as connection:
            connection.sendall(head.encode())
            answer = connection.recv(4096).split(b"\r\n")[0].decode()
            seconds = time.monotonic() - start
            with suppress(ConnectionError):
                connection.sendall(bytes(BODY))
        time.sleep(SETTLE_SECONDS)
        taken = _read_by(running.process.pid) - read
    if "401" not in answer or taken > BODY / 10:
        sys.exit(f"30 MB without a key: {answer}, {taken:,} bytes read")
    return f"{answer} after {1000 * seconds:.0f} ms, before any of it was sent; {taken:,} bytes of it read"


def _read_by(pid: int) -> int:
    found = Path(f"/proc/{pid}/io").read_text()
    return int(found.split("rchar: ")[1].split("\n")[0])


def main() -> None:
    """Measure all, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-bombs-") as name:
        folder = Path(name)
        Shop(LocalStore(folder / "store"), folder).publish(24)
        settings = {"LOOKALIKE_BATCHING__CACHED_VECTORS": "0", "LOOKALIKE_LIMITS__REQUEST_SECONDS": "30"}
        sys.stdout.write(f"{'':<42}{'sent':>13} {'memory':>10} {'processor':>10} {'answer':>10}\n")
        with server(folder, **settings) as running:
            running.wait(lambda state: state["ready"])
            for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):  # each decoder is loaded at its first picture
                cost(running, picture(1, kind=kind), 1)
            plain = measure(running, {"no picture at all": lambda: b"x" * UNREADABLE}, options.repeats)
            bombs = measure(running, BOMBS, options.repeats)
            measure(running, LARGEST, options.repeats)
            well = running.state()["ready"]
        sys.stdout.write(f"30 MB without a key: {large_body(folder)}\n")
    (received,) = plain.values()
    broken = [name for name, one in bombs.items() if not _is_harmless(one, received)]
    if not well:
        broken.append("the server afterwards")
    sys.exit(f"too dear: {', '.join(broken)}" if broken else 0)


def _is_harmless(one: Cost, received: Cost) -> bool:
    share = one.sent / received.sent
    memory, seconds = one.memory - share * received.memory, one.processor - share * received.processor
    return one.answer[0] in "24" and memory < MAX_BYTES and seconds < MAX_SECONDS


if __name__ == "__main__":
    main()
