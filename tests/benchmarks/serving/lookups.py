"""Searches by product and by vector, beside a FastAPI route that returns a constant, and beside bare FAISS."""

from __future__ import annotations

import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.manifest import Manifest
from lookalike.infra.demo.processes import HOST
from lookalike.tasks.search.searcher import Searcher
from tests.benchmarks.serving import queries, servers
from tests.benchmarks.serving.costs import Costs
from tests.benchmarks.serving.load import OK
from tests.benchmarks.serving.loads import Load, Result, send
from tests.benchmarks.serving.peers import engine
from tests.benchmarks.serving.servers import Server
from tests.benchmarks.serving.shops import DIMENSION, Shop, product_id

CLIENTS = (1, 8, 32)
OURS = "Lookalike"
QUERIES = 2000


def measure(shop: Shop, folder: Path, seconds: float) -> None:
    """Print a table."""
    manifest = shop.published()
    shop.write_engine(manifest, folder / "engine")
    requests = {
        "product": queries.write(folder / "similar", queries.similar(QUERIES, shop.size.products)),
        "vector": queries.write(folder / "vectors", queries.vectors(QUERIES, manifest.encoder.dimension)),
    }
    sys.stdout.write(f"{'':<12}{'query':<10}{'clients':>8}{'q/s':>8}{'p50':>8}{'p99':>8} ms\n")
    with servers.lookalike(folder, shop.folder / "store") as server:
        (folder / "reply").write_bytes(_one_reply(server))
        _measure(OURS, server, requests, seconds)
    with servers.peer("constant", folder, {"REPLY": str(folder / "reply")}) as server:
        _measure("constant", server, requests, seconds)
    rates = {"product": _searcher(shop, manifest, folder, seconds, similar=True)}
    rates["vector"] = _searcher(shop, manifest, folder, seconds, similar=False)
    for kind, rate in rates.items():
        sys.stdout.write(f"{'Searcher':<12}{kind:<10}{1:>8}{rate:>8.0f}   (without HTTP, in one thread)\n")
    for threads in (1, 2):
        rate = _bare(folder / "engine" / engine.INDEX, seconds, threads)
        sys.stdout.write(f"{'bare FAISS':<12}{'vector':<10}{threads:>8}{rate:>8.0f}   (threads)\n")


def _measure(name: str, server: Server, requests: dict[str, Path], seconds: float) -> None:
    for kind, folder in requests.items():
        for clients in CLIENTS:
            before = Costs.of(server) if name == OURS else None
            result = send(server, Load(folder, seconds, clients))
            _print(name, kind, result, Costs.of(server) - before if before else None)


def _print(name: str, kind: str, result: Result, costs: Costs | None) -> None:
    p50, _, p99 = result.percentiles()
    failed = sum(count for status, count in result.statuses().items() if status != OK)
    sys.stdout.write(
        f"{name:<12}{kind:<10}{result.load.clients:>8}{result.rate():>8.0f}{p50:>8.1f}{p99:>8.1f}"
        f"{f'   {failed} failed' if failed else ''}"
    )
    if costs:
        sys.stdout.write(f"   {costs.processor_ms(result.served):.2f} ms of a core; {costs.described()}")
    sys.stdout.write("\n")
    sys.stdout.flush()


def _one_reply(server: Server) -> bytes:
    with urllib.request.urlopen(f"http://{HOST}:{server.port}/v1/products/0-0000001/similar", timeout=30) as reply:
        body: bytes = reply.read()
    return body


def _searcher(shop: Shop, manifest: Manifest, folder: Path, seconds: float, *, similar: bool) -> float:
    """Return searches a second of what the server calls, without the server."""
    searcher = Searcher.open(shop.store, manifest, BlobCache(folder / "searcher"), threads=1)
    random = np.random.default_rng(4)
    products = [product_id(0, row) for row in random.integers(0, shop.size.products, QUERIES)]
    vectors = np.abs(random.standard_normal((QUERIES, manifest.encoder.dimension), np.float32))
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        number = done % QUERIES
        _ = searcher.similar(products[number], 10) if similar else searcher.search(vectors[number], 10)
        done += 1
    return done / seconds


def _bare(file: Path, seconds: float, threads: int) -> float:
    """Return searches a second of FAISS alone, one query at a time in each thread."""
    index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
    found = np.abs(np.random.default_rng(3).standard_normal((QUERIES, 1, DIMENSION), np.float32))

    def search(_: int) -> int:
        faiss.omp_set_num_threads(1)
        done, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            index.search(found[done % QUERIES], 10)
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(search, range(threads))) / seconds
