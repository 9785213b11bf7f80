"""Coarse quantisers beside each other: how soon they find the nearest lists, and how many of them.

    python -m tests.benchmarks.coarse [--lists 65536]

Centroids and queries are made vectors of 256 dimensions. Each graph is built by one thread and asked by one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import faiss
import numpy as np

from lookalike.tasks.search.faiss_io import use_threads
from lookalike.tasks.search.inverted import choose_coarse_ef
from tests.benchmarks.index_vectors import Clusters, Vectors
from tests.benchmarks.machine import describe_machine

GRAPHS = ("HNSW32", "HNSW16", "HNSW32_SQ8", "HNSW16_SQ8", "HNSW32_SQfp16")
NPROBES = (16, 64, 256)
QUERIES = 400
ROUNDS = 3


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


def main() -> None:
    """Do it, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", type=int, default=65_536)
    lists = parser.parse_args().lists
    use_threads(1)
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
                figures.append({"graph": key, "nprobe": nprobe, "ef_search": ef_search, **times})
    sys.stdout.write(json.dumps({"machine": describe_machine(), "lists": lists, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
