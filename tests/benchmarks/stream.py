"""Many pictures over one stream: `python -m tests.benchmarks.stream [--count 10000] [--slow 60] [--output FILE]`.

The Python client sends them to a server with two workers, which embeds each with the `fake` encoder. One of a hundred
is no picture. On the way three snapshots are published, and the worker that holds the stream is killed. Each picture
must have one outcome, the right one. Then a reader takes one answer a second, stops for half a minute, and goes on.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from lookalike.data.stores.local import LocalStore
from lookalike_client import BadPictureError, Client, Hit, Outcome
from tests.benchmarks.results import add_output, write_result, write_table
from tests.benchmarks.workers import STARTED, held_by, workers_of
from tests.support.client import wait_for
from tests.support.processes import Server, server
from tests.support.shop import Shop, product_ids

PRODUCTS = 24
WORKERS = 2
BAD = 100
"""One of so many is no picture."""
ACCEPTED = '"WebSocket /v1/stream" [accepted]'
_PNG_END = 12
"""Bytes of the last chunk of a PNG."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of the items.

    Attributes:
        refused: bad pictures that were refused as such.
        failed: other errors.
        lost, doubled: items without an outcome, and outcomes beyond the first.
        ahead: how many items were read at most beyond the outcomes that were taken.
        client_mb, server_mb: resident memory, of the client and of the largest worker, at most in each quarter.
    """

    right: int
    wrong: int
    refused: int
    failed: int
    lost: int
    doubled: int
    ahead: int
    snapshots: int
    streams: int
    seconds: float
    client_mb: list[int]
    server_mb: list[int]


class Tally:
    """Items as they are read, and outcomes as they come."""

    def __init__(self, shop: Shop, count: int) -> None:
        self._files = [file.read_bytes() for file in sorted((shop.folder / "pictures-1").iterdir())]
        self.count = count
        self.read = self.ahead = 0
        self.places: Counter[int] = Counter()
        self.kinds: Counter[str] = Counter()
        self.snapshots: set[str] = set()

    def items(self) -> Iterator[bytes]:
        """Yield pictures: no two have the same bytes, so that each has to be embedded."""
        for number in range(self.count):
            self.read += 1
            self.ahead = max(self.ahead, self.read - self.places.total())
            yield b"no picture" if number % BAD == BAD - 1 else _mark(self._files[number % PRODUCTS], number)

    def take(self, outcome: Outcome[Hit]) -> None:
        self.places[outcome.place] += 1
        is_bad = outcome.place % BAD == BAD - 1
        if outcome.error is not None:
            self.kinds["refused" if is_bad and isinstance(outcome.error, BadPictureError) else "failed"] += 1
            return
        answer = outcome.unwrap()
        self.snapshots.add(answer.snapshot)
        is_right = not is_bad and answer[0].id == product_ids(PRODUCTS)[outcome.place % PRODUCTS]
        self.kinds["right" if is_right else "wrong"] += 1

    def figures(self, running: Server, began: float, memory: Memory) -> Figures:
        client, largest = memory.quarters()
        return Figures(
            **{kind: self.kinds[kind] for kind in ("right", "wrong", "refused", "failed")},
            lost=self.count - len(self.places),
            doubled=self.places.total() - len(self.places),
            ahead=self.ahead,
            snapshots=len(self.snapshots),
            streams=running.log.count(ACCEPTED),
            seconds=round(time.monotonic() - began, 1),
            client_mb=client,
            server_mb=largest,
        )


def _mark(png: bytes, number: int) -> bytes:
    """Return the same picture as other bytes: with a text in its file."""
    body = b"tEXt" + b"Comment\0" + str(number).encode()
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return png[:-_PNG_END] + chunk + png[-_PNG_END:]


class Memory:
    """Resident memory over time, of this process and of the largest worker."""

    def __init__(self, running: Server) -> None:
        self._running = running
        self._samples: list[tuple[int, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    @contextmanager
    def measured(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def quarters(self) -> tuple[list[int], list[int]]:
        """Return the most in each quarter of the time, in MB."""
        size = max(1, len(self._samples) // 4)
        parts = [self._samples[place * size : (place + 1) * size] for place in range(4)]
        most = [(max(one for one, _ in part), max(one for _, one in part)) for part in parts if part]
        return [client >> 20 for client, _ in most], [largest >> 20 for _, largest in most]

    def _sample(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.2):
            with suppress(psutil.NoSuchProcess, ValueError):  # a worker ended meanwhile, or there is none
                largest = max(worker.memory_info().rss for worker in workers_of(self._running))
                self._samples.append((me.memory_info().rss, largest))


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Shop, Server]]:
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish(PRODUCTS)
    with server(folder, LOOKALIKE_WORKERS=str(WORKERS), LOOKALIKE_STREAM__ENABLED="true") as running:
        wait_for(lambda: running.log.count(STARTED), lambda count: count == WORKERS, 60)
        running.wait(lambda state: state["ready"])
        yield shop, running


def ask_many(folder: Path, count: int, concurrency: int) -> Figures:
    """Ask about `count` pictures. After each quarter a snapshot is published, and after the half a worker is killed."""
    with serving(folder) as (shop, running), Client(running.url) as client:
        tally, memory = Tally(shop, count), Memory(running)
        began = time.monotonic()
        with memory.measured():
            outcomes = client.search_many(tally.items(), k=1, concurrency=concurrency, stream=True, timeout=240)
            for taken, outcome in enumerate(outcomes, 1):
                tally.take(outcome)
                if taken % (count // 4) == 0 and taken < count:
                    shop.publish(PRODUCTS)
                if taken == count // 2:
                    kill_holder(running)
        return tally.figures(running, began, memory)


def kill_holder(running: Server) -> None:
    """Kill the worker that has this process's stream."""
    own = {found.laddr.port for found in psutil.Process().net_connections("tcp4") if found.laddr}
    [holder] = [worker for worker in workers_of(running) if held_by(worker) & own]
    holder.kill()


def read_slowly(folder: Path, count: int, seconds: float, stop: float) -> Figures:
    """Take an outcome each so many `seconds`; after the half, none for `stop` seconds, in which no item may be read."""
    with serving(folder) as (shop, running), Client(running.url) as client:
        tally, memory = Tally(shop, count), Memory(running)
        began = time.monotonic()
        with memory.measured():
            for taken, outcome in enumerate(client.search_many(tally.items(), k=24, stream=True), 1):
                tally.take(outcome)
                read = tally.read
                time.sleep(stop if taken == count // 2 else seconds)
                assert tally.read == read, "items were read while nobody took an outcome"
        return tally.figures(running, began, memory)


def table(figures: dict[str, Any]) -> str:
    """Return what came of all items, by the reader who takes all at once and by the slow one, as Markdown."""
    readers = {"all at once": figures["many"], "slowly": figures["slowly"]}
    rows = [[title, *(show(one) for one in readers.values())] for title, show in ROWS.items()]
    return write_table(["", *readers], rows)


def _list(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda figures: ", ".join(str(one) for one in figures[name])


def _join(*names: str) -> Callable[[dict[str, Any]], str]:
    return lambda figures: "; ".join(f"{figures[name]:,}" for name in names)


ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "right answers; bad pictures that were refused": _join("right", "refused"),
    "wrong answers; other errors; lost; doubled": _join("wrong", "failed", "lost", "doubled"),
    "snapshots in the answers; streams that were opened": _join("snapshots", "streams"),
    "items read beyond the outcomes that were taken, at most": _join("ahead"),
    "seconds": _join("seconds"),
    "memory of the client in each quarter, MB": _list("client_mb"),
    "memory of the largest worker in each quarter, MB": _list("server_mb"),
}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--slow", type=int, default=60, help="How many items the slow reader takes, one a second.")
    add_output(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        many = ask_many(Path(folder), given.count, given.concurrency)
    with tempfile.TemporaryDirectory() as folder:
        slowly = read_slowly(Path(folder), given.slow, 1.0, 30.0)
    figures = {"many": asdict(many), "slowly": asdict(slowly)}
    print(table(figures))  # noqa: T201
    if given.output:
        write_result(given.output, figures)


if __name__ == "__main__":
    main()
