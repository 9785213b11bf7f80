"""Tables of what a large catalogue costs, from the figures of `tests.benchmarks.scale`."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.results import write_table

MEMORY = ("total", "anonymous", "blobs", "groups", "columns", "programs")


def table(figures: dict[str, Any]) -> str:
    """Return what steps and queries took, and what the server held, as Markdown."""
    tables = [_build_table(figures)] if "key" in figures["build"] else []  # `--serve` builds nothing
    return "\n\n".join([*tables, _serve_table(figures)])


def _build_table(figures: dict[str, Any]) -> str:
    build = figures["build"]
    rows = [
        [name, f"{step['cpu_seconds']:,.1f}", f"{step['seconds']:,.1f}", f"{step['peak_bytes'] / 1e6:,.0f}"]
        for name, step in build.items()
        if isinstance(step, dict)
    ]
    steps = write_table(["step", "of a core, s", "by the clock, s", "peak memory of its process, MB"], rows)
    bytes_ = figures["bytes_a_product"]
    return (
        f"{steps}\n\n`{build['key']}` in {build['shards']} shard(s), recall@10 {build['recall_at_10']:.3f}. Bytes a "
        f"product: index {bytes_['index']:,.0f}, Parquet {bytes_['products']:,.0f}, words {bytes_['words']:,.0f}."
    )


def _serve_table(figures: dict[str, Any]) -> str:
    served = figures["serve"]
    columns = [f"{figures['products']:,} products", "a second", "p50, ms", "p99", "ms of a core", "failed"]
    rows = [
        [
            name,
            f"{one['rate']:,.0f}",
            f"{one['p50_ms']:.1f}",
            f"{one['p99_ms']:.1f}",
            f"{one['cpu_ms']:.1f}",
            str(one["failed"]),
        ]
        for name, one in served["queries"].items()
    ]
    moments = {"after its start": "memory_after_start", "after the queries": "memory_after_queries"}
    memory = [[what, *(f"{served[name].get(kind, 0) / 1e6:,.0f}" for kind in MEMORY)] for what, name in moments.items()]
    return (
        f"{write_table(columns, rows)}\n\n{write_table(['memory, MB', *MEMORY], memory)}\n\n"
        f"It starts from a warm cache in {served['start_seconds']:.1f} s. A swap to a refreshed snapshot takes "
        f"{served['swap']['seconds']:.2f} s, and {served['swap']['peak_bytes'] / 1e6:,.0f} MB at most."
    )
