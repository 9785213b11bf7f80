"""Swaps under a steady load: 500,000 products in two shards are exchanged again and again, and nobody notices."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lookalike.data.snapshots.manifest import Manifest
from tests.benchmarks.results import write_table
from tests.benchmarks.serving import queries, servers
from tests.benchmarks.serving.load import OK, Reply
from tests.benchmarks.serving.loads import Load, sending, times_of
from tests.benchmarks.serving.servers import Server
from tests.benchmarks.serving.shops import Shop, Size

SIZE = Size(250_000, 2)
GENERATIONS = 3
EVERY_SECONDS = 6.0
RATE = 30.0  # requests a second, half of them by picture: about half of what two cores can do
AFTER = 1.0  # seconds after the first answer from a new snapshot that still count as the swap: the old one is let go


def measure(pictures: Path, folder: Path, swaps: int) -> dict[str, Any]:
    """Swap, and return what was seen. Raises `SystemExit` where a promise is broken."""
    shop = Shop(folder / "shop", SIZE)
    made = [shop.make(generation) for generation in range(GENERATIONS)]
    shop.publish(made[0])
    mixed = _mixed(pictures)
    load = Load(queries.write(folder / "mixed", mixed), EVERY_SECONDS * (swaps + 1), rate=RATE, hits=True)
    environment = {"LOOKALIKE_POLL_SECONDS": "0.5"}
    with servers.lookalike(folder, folder / "shop" / "store", environment) as server:
        with sending(server, Load(load.requests, 10, rate=RATE)):
            pass
        before, samples, moves = server.memory, list[float](), list[float]()
        with sending(server, load) as results:
            for number in range(swaps):
                _wait(EVERY_SECONDS, server, samples)
                moves.append(time.time())
                shop.publish(made[(number + 1) % GENERATIONS])
        _wait(10, server, samples)
        after, done = server.memory, server.gauge("lookalike_swaps_total")
        swapping = server.gauge("lookalike_swap_seconds_sum") / max(1.0, done)
    replies = results[0].replies
    inside, outside = _split(replies, moves)
    mixtures = _mixtures(replies, made)
    lost = [reply.status for reply in replies if reply.status != OK]
    if lost or mixtures or done - 1 < swaps:
        raise SystemExit(f"broken: {len(lost)} requests failed ({set(lost)}), {mixtures} mixed, {done - 1:.0f} swaps")

    return {
        "swaps": swaps,
        "swap_seconds": swapping,
        "mixed": mixtures,
        "requests": {
            name: {"count": len(some), **times_of(some)}
            for name, some in (("in swaps", inside), ("outside", outside), ("all", replies))
        },
        "memory_mb": {"before": before, "most": max(samples), "after": after},
    }


def table(figures: dict[str, Any]) -> str:
    """Return the times in swaps and outside, and what a swap takes, as Markdown."""
    requests, memory = figures["requests"], figures["memory_mb"]
    rows = [
        [
            name,
            f"{one['count']:,}",
            str(one["failed"]),
            *(f"{one[time]:.0f}" for time in ("p50_ms", "p95_ms", "p99_ms")),
        ]
        for name, one in requests.items()
    ]
    return (
        f"{write_table(['', 'requests', 'failed', 'p50, ms', 'p95', 'p99'], rows)}\n\n"
        f"{figures['swaps']} swaps took {figures['swap_seconds']:.2f} s each. p99 in swaps was "
        f"{slower_in_swaps(figures):.2f} times that outside. {figures['mixed']} replies mixed snapshots. "
        f"Resident memory was {memory['before']:.0f} MB before, at most "
        f"{memory['most']:.0f} MB, and {memory['after']:.0f} MB ten seconds after the last swap."
    )


def slower_in_swaps(figures: dict[str, Any]) -> float:
    """Return p99 in swaps over p99 outside."""
    requests = figures["requests"]
    return float(requests["in swaps"]["p99_ms"] / requests["outside"]["p99_ms"])


def _mixed(pictures: Path) -> list[bytes]:
    images = queries.multipart(queries.pictures(pictures, 256))
    return [
        request for pair in zip(images, queries.similar(len(images), SIZE.products), strict=True) for request in pair
    ]


def _wait(seconds: float, server: Server, samples: list[float]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        samples.append(server.memory)
        time.sleep(min(0.5, max(0.0, end - time.monotonic())))


def _split(replies: Sequence[Reply], moves: Sequence[float]) -> tuple[list[Reply], list[Reply]]:
    """Part the replies into those whose time overlaps a swap, from the channel's move to a second after it."""
    windows = [(move, _first_new(replies, move) + AFTER) for move in moves]
    inside = [
        reply for reply in replies if any(reply.due < end and reply.due + reply.seconds > move for move, end in windows)
    ]
    taken = {id(reply) for reply in inside}
    return inside, [reply for reply in replies if id(reply) not in taken]


def _first_new(replies: Sequence[Reply], move: float) -> float:
    """Return when the first reply came from the snapshot that a move led to."""
    ordered = sorted(replies, key=lambda reply: reply.due + reply.seconds)
    old = next((reply.snapshot for reply in reversed(ordered) if reply.due + reply.seconds <= move), None)
    return next(
        (r.due + r.seconds for r in ordered if r.due + r.seconds > move and r.snapshot not in {None, old}), move
    )


def _mixtures(replies: Sequence[Reply], made: Sequence[Manifest]) -> int:
    """Count the replies whose hits are not all of the snapshot that they name."""
    own = {manifest.id: [str(generation)] for generation, manifest in enumerate(made)}
    return sum(reply.status == OK and own.get(reply.snapshot or "") != reply.generations for reply in replies)
