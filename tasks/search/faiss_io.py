"""Read indexes in FAISS's own format, and set how many threads FAISS uses.

No part of an index may be much larger than its file, so a forged length cannot take up the memory. OpenMP counts
threads for each calling thread, and Dask sets one for all of them: so callers of FAISS set their own number.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import faiss
import numpy as np

LEAST_BYTES = 2**20  # of memory that a small file may take on top of its own size
TABLES = 8  # times the file: FAISS computes tables from the centroids of product quantisers, of four times their size

_limit_lock = threading.Lock()  # the limit counts for the whole process


def read_mapped(file: Path) -> faiss.Index:
    """Map an index into memory. Raises `RuntimeError` where it cannot be read."""
    with _bound_memory(file.stat().st_size):
        return faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)


def read_bytes(data: bytes) -> faiss.Index:
    """Return the index that was serialised as `data`. Raises `RuntimeError` where it cannot be read."""
    with _bound_memory(len(data)):
        return faiss.deserialize_index(np.frombuffer(data, np.uint8))


@contextmanager
def _bound_memory(size: int) -> Iterator[None]:
    with _limit_lock:
        before = faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_vector_byte_limit(LEAST_BYTES + TABLES * size)
        try:
            yield
        finally:
            faiss.set_deserialization_vector_byte_limit(before)


def use_threads(count: int) -> None:
    """Let FAISS use `count` threads in calls that this thread makes from now on."""
    faiss.omp_set_num_threads(count)
