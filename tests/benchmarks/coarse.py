"""Coarse quantisers beside each other: how soon they find the nearest lists, and how many of them.

    python -m tests.benchmarks.coarse [--lists 65536] [--output FILE]

Centroids and queries are made vectors of 256 dimensions. Each graph is built by one thread and asked by one. The
table has the best of three rounds; an effort of 1 is the `efSearch` that a search uses.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import faiss
import numpy as np

from lookalike.tasks.search.faiss_io import use_threads
from lookalike.tasks.search.inverted import choose_coarse_ef
from tests.benchmarks.index_vectors import Clusters, Vectors
from tests.benchmarks.results import add_output, write_result, write_table

GRAPHS = ("HNSW32", "HNSW16", "HNSW32_SQ8", "HNSW16_SQ8", "HNSW32_SQfp16")
NPROBES = (16, 64, 256)
QUERIES = 400
ROUNDS = 3
SHOWN = ((16, 1), (64, 1), (64, 2), (256, 1))
"""Lists and effort of the table's columns."""


def build(key: str, centroids: Vectors) -> faiss.Index:
    """Return a graph of centroids."""
    index = faiss.index_factory(centroids.shape[1], key, faiss.METRIC_INNER_PRODUCT)
    index.train(centroids)
    index.add(centroids)
    return index


def ask(index: faiss.Index, queries: Vectors, nprobe: int, ef_search: int) -> tuple[float, np.ndarray[Any, Any]]:
    """Return the milliseconds of a query, asked alone, and the (n, nprobe) lists that were found."""
    parameters = faiss.SearchParametersHNSW(efSearch=ef_search)
    began = time.perf_counter()
    found = [index.search(query[None], nprobe, params=parameters)[1][0] for query in queries]
    return 1000 * (time.perf_counter() - began) / len(queries), np.stack(found)


def measure(lists: int) -> list[dict[str, Any]]:
    """Return what each graph takes and finds, for so many lists to find and with an effort of 1 and 2."""
    centroids, queries = (Clusters().draw(count, seed) for count, seed in ((lists, 1), (QUERIES, 2)))
    exact = faiss.knn(queries, centroids, max(NPROBES), metric=faiss.METRIC_INNER_PRODUCT)[1]
    graphs = {key: build(key, centroids) for key in GRAPHS}
    figures: list[dict[str, Any]] = []
    for nprobe in NPROBES:
        for effort in (1, 2):
            ef_search = effort * choose_coarse_ef(nprobe)
            rounds = [
                {key: ask(graph, queries, nprobe, ef_search) for key, graph in graphs.items()} for _ in range(ROUNDS)
            ]
            for key in graphs:
                found = rounds[0][key][1]
                shared = np.mean(
                    [np.isin(one, best).mean() for one, best in zip(found, exact[:, :nprobe], strict=True)]
                )
                times = {"ms": [round(some[key][0], 3) for some in rounds], "lists_found": round(float(shared), 4)}
                figures.append({"graph": key, "nprobe": nprobe, "effort": effort, "ef_search": ef_search, **times})
    return figures


def table(figures: dict[str, Any]) -> str:
    """Return the milliseconds and the share of lists found of each graph, as Markdown."""
    points = {(one["graph"], one["nprobe"], one["effort"]): one for one in figures["points"]}
    rows = [
        [f"`{graph}`", *(_write_point(points[graph, nprobe, effort]) for nprobe, effort in SHOWN)]
        for graph in dict.fromkeys(graph for graph, _, _ in points)
    ]
    first, *others = (f"{nprobe} lists, effort {effort}" for nprobe, effort in SHOWN)
    return write_table(["graph", f"{first}: ms; share found", *others], rows)


def _write_point(point: dict[str, Any]) -> str:
    return f"{min(point['ms']):.2f}; {point['lists_found']:.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", type=int, default=65_536)
    add_output(parser)
    options = parser.parse_args()
    use_threads(1)
    figures = {"lists": options.lists, "points": measure(options.lists)}
    sys.stdout.write(f"{table(figures)}\n")
    if options.output:
        write_result(options.output, figures)


if __name__ == "__main__":
    main()
