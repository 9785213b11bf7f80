"""Inverted lists that stay on disk: how fast they answer when they are in the page cache, and when none of them is.

    python -m tests.benchmarks.scale --products 1000000 --kind "IVF SQ8" --on-disk --folder build/on-disk
    python -m tests.benchmarks.scale.on_disk --folder build/on-disk [--output FILE]

Before each query of the second kind the system takes back all pages of lists and columns, in this process and in the
page cache. So its memory then is the least with which a server answers, and its time the longest.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.channels import Channel
from lookalike.data.snapshots.store import read_manifest
from lookalike.data.stores import open_store
from lookalike.data.stores.base import ObjectStore
from lookalike.tasks.search.faiss_io import give_back, give_back_around, list_mappings
from lookalike.tasks.search.searcher import Searcher
from tests.benchmarks.results import add_output, write_result, write_table
from tests.benchmarks.scale.catalogue import product_id
from tests.benchmarks.scale.serve import read_memory

QUERIES = 300
KINDS = {"anonymous": "its own", "blobs": "lists", "columns": "columns", "programs": "programs"}
REFRESHED = 1000  # products that came after the build have other ids


def measure(folder: Path) -> dict[str, Any]:
    """Ask by product, with the lists in the page cache and without.

    Who opens a snapshot first makes its columns, and keeps memory of that: so another process does it.
    """
    first = get_context("spawn").Process(target=_open, args=(folder,))
    first.start()
    first.join()
    began = time.perf_counter()
    store, cache, searcher = _open(folder)
    seconds = time.perf_counter() - began
    manifest = searcher.manifest
    shards = [cache.get(store, shard.index) for shard in manifest.shards]
    columns = [path for path in cache.folder.iterdir() if ".columns" in path.name]
    centroids = searcher._index._groups[0]._centroids  # type: ignore[attr-defined]  # what a server holds

    def evict() -> None:
        give_back_around(centroids)
        for start, stop, mapped in list_mappings():
            if mapped in map(str, [*shards[1:], *columns]):
                give_back(start, stop)
        for file in (*shards, *columns):
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    figures = {
        "products": manifest.products,
        "index_bytes": sum(shard.index.size for shard in manifest.shards),
        "recall_at_10": manifest.quality["recall_at_10"],
        "parameters": str(searcher.manifest.index.nprobe),
        "open_seconds": round(seconds, 2),
    }
    evicted = _time(searcher, evict)
    figures["evicted"] = {**evicted, "memory": read_memory(os.getpid(), folder)}
    _time(searcher, lambda: None)
    figures["warm"] = {**_time(searcher, lambda: None), "memory": read_memory(os.getpid(), folder)}
    return figures


def _open(folder: Path) -> tuple[ObjectStore, BlobCache, Searcher]:
    store = open_store(str(folder / "store"))
    cache = BlobCache(folder / "cache" / "blobs")
    manifest = read_manifest(store, Channel(store).current().snapshot)
    return store, cache, Searcher.open(store, manifest, cache, threads=1)


def _time(searcher: Searcher, prepare: Callable[[], None]) -> dict[str, float]:
    """Return percentiles of the milliseconds of a query by product; `prepare` is called before each."""
    times: list[float] = []
    for number in np.random.default_rng(5).integers(0, searcher.manifest.products - REFRESHED, QUERIES).tolist():
        prepare()
        began = time.perf_counter()
        searcher.similar(product_id(number), 10)
        times.append(1000 * (time.perf_counter() - began))
    p50, p99 = np.percentile(times, [50, 99])
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


def table(figures: dict[str, Any]) -> str:
    """Return a row for each state of the page cache, as Markdown."""
    columns = ["lists and columns", "p50, ms", "p99", "memory, MB", *(f"of it {kind}" for kind in KINDS.values())]
    rows = [
        [
            title,
            f"{one['p50_ms']:.1f}",
            f"{one['p99_ms']:.1f}",
            *(f"{one['memory'].get(kind, 0) / 1e6:,.0f}" for kind in ("total", *KINDS)),
        ]
        for title, one in (("in the page cache", figures["warm"]), ("none of them in memory", figures["evicted"]))
    ]
    count = figures["products"]
    return (
        f"{write_table(columns, rows)}\n\n{count:,} products, {figures['index_bytes'] / count:,.0f} bytes each in the "
        f"index, {figures['parameters']} lists visited, recall@10 {figures['recall_at_10']:.3f}."
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build/scale"))
    add_output(parser)
    given = parser.parse_args()
    figures = measure(given.folder.resolve())
    sys.stdout.write(f"{table(figures)}\n")
    if given.output:
        write_result(given.output, figures)


if __name__ == "__main__":
    main()
