"""Searches by product and by vector, beside a FastAPI route that returns a constant, and beside bare FAISS."""

from __future__ import annotations

import statistics
import time
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.infra.demo.processes import HOST
from lookalike.tasks.search.searcher import Searcher
from tests.benchmarks.results import spread, write_table
from tests.benchmarks.serving import queries, servers
from tests.benchmarks.serving.costs import Costs
from tests.benchmarks.serving.loads import Load, Result, send, times_of
from tests.benchmarks.serving.peers import engine
from tests.benchmarks.serving.servers import Server
from tests.benchmarks.serving.shops import DIMENSION, Shop, product_id

CLIENTS = (1, 8, 32)
OURS, CONSTANT = "Lookalike", "constant"
QUERIES = 2000
ROUNDS = 5
FAISS_THREADS = (1, 2)
ROWS = {
    (OURS, "product"): "**by product**",
    (OURS, "vector"): "**by vector**",
    (CONSTANT, "product"): "a constant, GET",
    (CONSTANT, "vector"): "a constant, POST of a vector",
}


def measure(shop: Shop, folder: Path, seconds: float) -> dict[str, Any]:
    """Return rates and times of both servers, of the same searches without a server, and of FAISS, all in turn."""
    manifest = shop.published()
    shop.write_engine(manifest, folder / "engine")
    requests = {
        "product": queries.write(folder / "similar", queries.similar(QUERIES, shop.size.products)),
        "vector": queries.write(folder / "vectors", queries.vectors(QUERIES, manifest.encoder.dimension)),
    }
    searcher = Searcher.open(shop.store, manifest, BlobCache(folder / "searcher"), threads=1)
    index = faiss.read_index(str(folder / "engine" / engine.INDEX), faiss.IO_FLAG_MMAP_IFC)
    loads: dict[tuple[str, str, int], list[tuple[Result, Costs | None]]] = defaultdict(list)
    without: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        ours = stack.enter_context(servers.lookalike(folder, shop.folder / "store"))
        (folder / "reply").write_bytes(_one_reply(ours))
        constant = stack.enter_context(servers.peer(CONSTANT, folder, {"REPLY": str(folder / "reply")}))
        for _ in range(ROUNDS):
            for kind, files in requests.items():
                for clients in CLIENTS:
                    load = Load(files, seconds / ROUNDS, clients)
                    loads[OURS, kind, clients].append(_send_counted(ours, load))
                    loads[CONSTANT, kind, clients].append((send(constant, load), None))
                without[f"searcher, {kind}"].append(_searcher(shop, searcher, seconds / ROUNDS, kind))
            for threads in FAISS_THREADS:
                without[f"FAISS, {threads} threads"].append(_bare(index, seconds / ROUNDS, threads))
    return {
        "servers": {
            name: {
                kind: {str(clients): _summarise(loads[name, kind, clients]) for clients in CLIENTS} for kind in requests
            }
            for name in (OURS, CONSTANT)
        },
        "without_server": dict(without),
    }


def _send_counted(server: Server, load: Load) -> tuple[Result, Costs]:
    before = Costs.of(server)
    result = send(server, load)
    return result, Costs.of(server) - before


def _summarise(rounds: list[tuple[Result, Costs | None]]) -> dict[str, Any]:
    costs = [used.processor_ms(result.served) for result, used in rounds if used is not None]
    return {
        "rates": [result.rate() for result, _ in rounds],
        **({"core_ms": statistics.median(costs)} if costs else {}),
        **times_of([reply for result, _ in rounds for reply in result.replies]),
    }


def table(figures: dict[str, Any]) -> str:
    """Return a row for each server and kind of query, and for what has no server, as Markdown."""
    clients = [f"q/s, {number} client(s)" for number in CLIENTS]
    columns = ["", *clients, "p50 at 1, ms", "p99 at 32", "ms of a core at 32", "failed"]
    empty = [""] * (len(columns) - 2)
    without = figures["without_server"]
    bare = "; ".join(spread(without[f"FAISS, {threads} threads"]) for threads in FAISS_THREADS)
    rows = [
        *([title, *_cells(figures["servers"][name][kind])] for (name, kind), title in ROWS.items()),
        *(
            [f"the same search without HTTP, by {kind}, in one thread", spread(without[f"searcher, {kind}"]), *empty]
            for kind in ("product", "vector")
        ),
        ["FAISS alone, in one thread; in two", bare, *empty],
    ]
    return write_table(columns, rows)


def _cells(loads: dict[str, Any]) -> list[str]:
    first, last = (loads[str(CLIENTS[number])] for number in (0, -1))
    return [
        *(spread(one["rates"]) for one in loads.values()),
        f"{first['p50_ms']:.1f}",
        f"{last['p99_ms']:.0f}",
        f"{last['core_ms']:.2f}" if "core_ms" in last else "",
        str(sum(one["failed"] for one in loads.values())),
    ]


def _one_reply(server: Server) -> bytes:
    with urllib.request.urlopen(f"http://{HOST}:{server.port}/v1/products/0-0000001/similar", timeout=30) as reply:
        body: bytes = reply.read()
    return body


def _searcher(shop: Shop, searcher: Searcher, seconds: float, kind: str) -> float:
    """Return searches a second of what the server calls, without the server."""
    random = np.random.default_rng(4)
    products = [product_id(0, row) for row in random.integers(0, shop.size.products, QUERIES)]
    vectors = np.abs(random.standard_normal((QUERIES, shop.published().encoder.dimension), np.float32))
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        number = done % QUERIES
        _ = searcher.similar(products[number], 10) if kind == "product" else searcher.search(vectors[number], 10)
        done += 1
    return done / seconds


def _bare(index: faiss.Index, seconds: float, threads: int) -> float:
    """Return searches a second of FAISS alone, one query at a time in each thread."""
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
