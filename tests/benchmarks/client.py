"""Pictures through a restart of the server: `python -m tests.benchmarks.client`.

The Python client asks about many pictures at a time. In the middle the server is killed and started again on the same
port. Each picture must have one answer, the right one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from lookalike.data.stores.local import LocalStore
from lookalike_client import Client
from tests.support.processes import Server, server
from tests.support.shop import Shop, product_ids

PRODUCTS = 24


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of the pictures; `pause_seconds` is the longest time without an outcome."""

    right: int
    wrong: int
    failed: int
    lost: int
    doubled: int
    seconds: float
    pause_seconds: float


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(ask_through_restart(Path(folder), given.count, given.concurrency))  # noqa: T201


def ask_through_restart(folder: Path, count: int, concurrency: int) -> Figures:
    """Ask about `count` pictures, and kill the server after half of them."""
    shop = Shop(LocalStore(folder / "store"), folder)
    shop.publish(PRODUCTS)
    with ExitStack() as stack:
        first = stack.enter_context(_serve(folder))
        first.wait(lambda state: state["ready"])
        client = stack.enter_context(Client(first.url))
        places: list[int] = []
        pauses = [0.0]
        right = failed = 0
        began = last = time.monotonic()
        for outcome in client.search_many(_pictures(shop, count), k=1, concurrency=concurrency, timeout=240):
            now = time.monotonic()
            pauses.append(now - last)
            last = now
            places.append(outcome.place)
            if outcome.error is not None:
                failed += 1
            else:
                right += outcome.unwrap()[0].id == product_ids(PRODUCTS)[outcome.place % PRODUCTS]
            if len(places) == count // 2:
                first.process.kill()
                first.process.wait(30)
                stack.enter_context(_serve(folder, port=first.port))
        times = Counter(places)
        return Figures(
            right=right,
            wrong=len(places) - right - failed,
            failed=failed,
            lost=count - len(times),
            doubled=sum(number - 1 for number in times.values()),
            seconds=round(time.monotonic() - began, 1),
            pause_seconds=round(max(pauses), 1),
        )


def _serve(folder: Path, port: int | None = None) -> AbstractContextManager[Server]:
    return server(folder, **({} if port is None else {"LOOKALIKE_PORT": str(port)}))


def _pictures(shop: Shop, count: int) -> Iterator[Path]:
    files = sorted((shop.folder / "pictures-1").iterdir())
    return (files[number % PRODUCTS] for number in range(count))


if __name__ == "__main__":
    main()
