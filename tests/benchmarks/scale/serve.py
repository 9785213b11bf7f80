"""Serve a large snapshot, and note what the server holds and how fast it answers."""

from __future__ import annotations

import re
import shutil
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.data.snapshots.manifest import Manifest
from lookalike.infra.demo.processes import HOST
from tests.benchmarks.scale.catalogue import BUCKETS, TITLE_WORDS, product_id
from tests.benchmarks.serving import queries
from tests.benchmarks.serving.load import OK
from tests.benchmarks.serving.loads import Load, send
from tests.benchmarks.serving.servers import QUIET
from tests.benchmarks.serving.servers import Server as Loaded
from tests.support.processes import Server, server
from tests.support.watched import forget_peak, new_pages, peak, processor_seconds

Figures = dict[str, Any]
CLIENTS = (1, 8, 32)
SHARES = (0.1, 0.01, 0.0001)
QUERIES = 2000
FIRST_KEPT = 1000  # a refresh removes some of the products before it
LONGEST_START = 1800.0  # seconds: a first start checks and maps tens of gigabytes
_MAPPED = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)$")


def measure(folder: Path, manifest: Manifest, seconds: float, publish: Callable[[], Manifest]) -> Figures:
    """Start a server twice, ask it, and let it swap to what `publish` publishes meanwhile."""
    figures: Figures = {}
    with _serve(folder) as first:
        figures["first_start_seconds"] = _wait_for(first, manifest.id)
        figures["memory_after_first_start"] = read_memory(first.process.pid, folder)
    with _serve(folder) as running:
        figures["start_seconds"] = _wait_for(running, manifest.id)
        pid = running.process.pid
        figures["memory_after_start"] = read_memory(pid, folder)
        figures["queries"] = _ask(folder, running, manifest, seconds)
        figures["memory_after_queries"] = read_memory(pid, folder)
        figures["swap"] = _swap(running, publish)
        figures["memory_after_swap"] = read_memory(pid, folder)
    return figures


def _serve(folder: Path) -> Any:
    return server(folder, **QUIET, LOOKALIKE_PIN_SECONDS="0", LOOKALIKE_BATCHING__CACHED_TEXTS="0")


def _wait_for(running: Server, snapshot: str) -> float:
    """Return the seconds until a server serves a snapshot."""
    began = time.monotonic()
    while time.monotonic() < began + LONGEST_START:
        state = running.state()
        if state.get("ready") and state.get("snapshot") == snapshot:
            return round(time.monotonic() - began, 2)
        time.sleep(0.02)
    raise SystemExit(f"no server within {LONGEST_START:.0f} s: {running.log[-2000:]}")


def _swap(running: Server, publish: Callable[[], Manifest]) -> Figures:
    pid = running.process.pid
    forget_peak(pid)
    published = publish()
    processor = processor_seconds(pid)
    seconds = _wait_for(running, published.id)
    return {"seconds": seconds, "cpu_seconds": processor_seconds(pid) - processor, "peak_bytes": peak(pid)}


def _ask(folder: Path, running: Server, manifest: Manifest, seconds: float) -> Figures:
    conditions = {f"filter {share:.2%}": {"filter": f"bucket<{round(BUCKETS * share)}"} for share in SHARES}
    kinds = {"product": {}, **conditions, "facets": {"facets": "brand"}, "sparse facets": {"facets": "stock"}}
    asked = {name: _similar(manifest.products, parameters) for name, parameters in kinds.items()}
    if manifest.words or manifest.text:
        asked |= {"text": _search({}), "text, filter 1.00%": _search({"filter": f"bucket<{BUCKETS // 100}"})}
    figures: Figures = {}
    shutil.rmtree(folder / "requests", ignore_errors=True)  # of an earlier run
    for name, bodies in asked.items():
        requests = queries.write(folder / "requests" / name, bodies)
        for clients in CLIENTS if name == "product" else CLIENTS[:2]:
            before, touched = processor_seconds(running.process.pid), new_pages(running.process.pid)
            result = send(Loaded(running.port), Load(requests, seconds, clients))
            p50, _, p99 = result.percentiles()
            answered = result.statuses()[OK]
            figures[f"{name}, {clients} clients"] = {
                "rate": round(answered / seconds, 1),
                "p50_ms": round(p50, 2),
                "p99_ms": round(p99, 2),
                "failed": len(result.replies) - answered,
                "cpu_ms": round(1000 * (processor_seconds(running.process.pid) - before) / max(1, result.served), 2),
                "new_pages": round((new_pages(running.process.pid) - touched) / max(1, result.served), 1),
            }
    return figures


def _similar(count: int, parameters: dict[str, str]) -> list[bytes]:
    numbers = np.random.default_rng(1).integers(FIRST_KEPT, count, QUERIES).tolist()
    asked = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    return [
        f"GET /v1/products/{urllib.parse.quote(product_id(number), safe='')}/similar{asked} HTTP/1.1\r\n"
        f"Host: {HOST}\r\n\r\n".encode()
        for number in numbers
    ]


def _search(parameters: dict[str, str]) -> list[bytes]:
    """Return searches by three words that titles have, as people type them."""
    random = np.random.default_rng(2)
    parts = [random.choice(words, QUERIES).tolist() for words in TITLE_WORDS[1:]]
    asked = [urllib.parse.urlencode({"text": " ".join(words), **parameters}) for words in zip(*parts, strict=True)]
    return [f"GET /v1/search?{one} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode() for one in asked]


def read_memory(pid: int, folder: Path) -> dict[str, int]:
    """Return the resident bytes of a process by what they are: its own, of cached files by kind, and of programs."""
    kinds = {"columns1": "columns", "groups1": "groups"}
    found = dict.fromkeys(("total", "anonymous", "columns", "blobs", "programs"), 0)
    current = "programs"
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        mapped = _MAPPED.match(line)
        if mapped:
            file = mapped[1].removesuffix(" (deleted)")
            inside = file.startswith(str(folder / "cache"))
            current = kinds.get(file.rpartition(".")[0].rpartition(".")[2], "blobs") if inside else "programs"
        elif line.startswith(("Rss:", "Anonymous:")):
            size = 1024 * int(line.split()[1])
            if line.startswith("Rss:"):
                found["total"] += size
                found[current] = found.get(current, 0) + size
            else:
                found["anonymous"] += size
                found[current] -= size
    return found
