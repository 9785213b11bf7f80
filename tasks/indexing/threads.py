"""FAISS's threads: OpenMP counts them for each calling thread, and Dask sets one for all."""

from __future__ import annotations

import faiss


def use_threads(count: int) -> None:
    """Let FAISS use `count` threads for what this thread calls from now on."""
    faiss.omp_set_num_threads(count)
