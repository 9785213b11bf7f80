"""The index beside hnswlib, usearch, LanceDB, FAISS by autofaiss's rules, Milvus and pgvector, at the same recall.

    python -m tests.benchmarks.index [--count 1000000] [--systems …] [--again] [--output index.json]

Vectors are made once and mapped. Each system is built in a process of its own, which is left out where it was built
before, and then searched in another one: the least effort that reaches recall@10 0.95 on 1,000 queries, measured on
1,000 others. The systems beside Lookalike run in an environment of their own (`--rivals`), and Milvus's server and
pgvector's client in another one (`--databases`); `make bench-index` makes both. pgvector is measured where `PGVECTOR`
names a PostgreSQL that has it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.lib.format import open_memmap

from tests.benchmarks.index_systems import SYSTEMS, TUNING
from tests.benchmarks.index_vectors import Clusters
from tests.benchmarks.results import add_output, write_result

MEASURED = 1000
DEPTH = 20
SCRIPT = Path(__file__).with_name("index_systems.py")
DEFAULT = (
    *(
        "lookalike",
        "hnswlib",
        "usearch",
        "usearch-i8",
        "lancedb",
        "autofaiss",
        "autofaiss-small",
        "milvus",
        "milvus-lite",
    ),
    *(["pgvector"] if os.environ.get("PGVECTOR") else []),
)
DATABASES = {"milvus", "pgvector"}
"""The systems whose packages do not go together with the others'."""


def prepare(folder: Path, count: int, clusters: Clusters) -> None:
    """Write vectors, queries and exact answers, unless they are there."""
    if (folder / "data.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    queries = clusters.draw(TUNING + MEASURED, seed=2)
    vectors = open_memmap(folder / "vectors.npy", "w+", np.float32, (count, clusters.dimension))
    best = faiss.ResultHeap(len(queries), DEPTH, keep_max=True)
    start = 0
    for batch in clusters.batches(count, seed=3):
        vectors[start : start + len(batch)] = batch
        scores, rows = faiss.knn(queries, batch, DEPTH, metric=faiss.METRIC_INNER_PRODUCT)
        best.add_result(scores, rows + start)
        start += len(batch)
    best.finalize()
    vectors.flush()
    np.save(folder / "queries.npy", queries)
    np.save(folder / "exact-rows.npy", best.I)
    np.save(folder / "exact-scores.npy", best.D)
    (folder / "data.json").write_text(json.dumps({"count": count, "dimension": clusters.dimension}))


def step(name: str, system: str, folder: Path, threads: int, python: Path) -> dict[str, Any]:
    """Run one step of one system in a process of its own; return what it reports."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [str(python), str(SCRIPT), name, system, str(folder), "--threads", str(threads)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} of {system} failed: {' '.join(command)}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def read_figures(folder: Path, systems: Sequence[str], count: int) -> dict[str, Any]:
    """Return what all systems reported that were measured."""
    found = {}
    for system in systems:
        if (folder / system / "query.json").is_file():
            reports = {name: json.loads((folder / system / f"{name}.json").read_text()) for name in ("build", "query")}
            found[system] = reports
    return {"count": count, "systems": found}


def table(figures: dict[str, Any]) -> str:
    """Return the figures of all systems as Markdown."""
    columns = "build, CPU s | its peak, MB | file, B/vector | in memory, B/vector | recall@10 | queries/s, 1 core"
    lines = [
        f"| system | {columns} | all cores | p50, ms | p99, ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    count = figures["count"]
    for system, reports in figures["systems"].items():
        built, asked = reports["build"], reports["query"]
        lines.append(
            f"| {system}: {built['settings']}; {asked['effort']} | {built['cpu_seconds']:.0f} "
            f"| {built['peak_bytes'] / 1e6:,.0f} | {built['file_bytes'] / count:,.0f} "
            f"| {asked['resident_bytes'] / count:,.0f} | {asked['recall']:.3f} | {asked['qps_1']:,.0f} "
            f"| {asked['qps_all']:,.0f} | {asked['p50_ms']:.2f} | {asked['p99_ms']:.2f} |"
        )
    return "\n".join(lines)


def filters_table(report: dict[str, Any]) -> str:
    """Return what filtered searches reached, as Markdown."""
    lines = [
        f"An exact search without a filter takes {report['exact_ms']:.1f} ms; {report['effort']}.",
        "",
        "| rows that match | recall@10 | p50, ms | p99, ms |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {one['share']:.1%} | {one['recall']:.3f} | {one['p50_ms']:.2f} | {one['p99_ms']:.2f} |"
        for one in report["filters"]
    ]
    return "\n".join(lines)


def main() -> None:
    """Build what is not built, search all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="vectors; 100000 for a quick look")
    parser.add_argument("--clusters", type=int, default=Clusters.count, help="that the vectors lie in")
    parser.add_argument("--spread", type=float, default=Clusters.spread, help="of each cluster")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(DEFAULT))
    parser.add_argument("--folder", type=Path, default=Path("build/index"))
    parser.add_argument("--rivals", type=Path, default=Path("build/index-venv/bin/python"), help="Python of the others")
    parser.add_argument(
        "--databases", type=Path, default=Path("build/index-databases-venv/bin/python"), help="Python of databases"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", action="store_true", help="build also what was built before")
    parser.add_argument("--only-build", action="store_true", help="leave the searching for a quiet machine")
    add_output(parser)
    arguments = parser.parse_args()
    if "pgvector" in arguments.systems and not os.environ.get("PGVECTOR"):
        parser.error("pgvector needs PGVECTOR: the address of a PostgreSQL that has the extension")
    clusters = Clusters(count=arguments.clusters, spread=arguments.spread)
    lie = "" if clusters == Clusters() else f"-{clusters.count}-{clusters.spread}"
    folder = arguments.folder / f"{arguments.count}{lie}"
    prepare(folder, arguments.count, clusters)
    for system in arguments.systems:
        python = arguments.databases if system in DATABASES else arguments.rivals
        if system.startswith("lookalike"):
            python = Path(sys.executable)
        if arguments.again or not (folder / system / "build.json").is_file():
            step("build", system, folder, arguments.threads, python)
        if not arguments.only_build:
            step("query", system, folder, arguments.threads, python)
    if "lookalike" in arguments.systems and not arguments.only_build:
        report = step("filters", "lookalike", folder, arguments.threads, Path(sys.executable))
        print(filters_table(report), end="\n\n")  # noqa: T201
    figures = read_figures(folder, arguments.systems, arguments.count)
    print(table(figures))  # noqa: T201
    if arguments.output:
        write_result(arguments.output, figures)


if __name__ == "__main__":
    main()
