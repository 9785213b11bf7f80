"""Reading: FAISS's own format, of which no part may be much larger than the whole: a forged length takes no memory.

FAISS's threads: OpenMP counts them for each calling thread, and Dask sets one for all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import faiss
import numpy as np

LEAST_BYTES = 2**20  # what small files may take beyond themselves
TABLES = 8  # times the file: from the centroids of product quantisers FAISS works out tables of four times their size

_one_at_a_time = threading.Lock()  # the limit is one for the whole process


def read_mapped(file: Path) -> faiss.Index:
    """Map an index into memory. Raises `RuntimeError` where it cannot be read."""
    with _nothing_much_larger_than(file.stat().st_size):
        return faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)


def read_bytes(data: bytes) -> faiss.Index:
    """Return the index that was serialised as `data`. Raises `RuntimeError` where it cannot be read."""
    with _nothing_much_larger_than(len(data)):
        return faiss.deserialize_index(np.frombuffer(data, np.uint8))


@contextmanager
def _nothing_much_larger_than(size: int) -> Iterator[None]:
    with _one_at_a_time:
        before = faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_vector_byte_limit(LEAST_BYTES + TABLES * size)
        try:
            yield
        finally:
            faiss.set_deserialization_vector_byte_limit(before)


def use_threads(count: int) -> None:
    """Let FAISS use `count` threads for what this thread calls from now on."""
    faiss.omp_set_num_threads(count)
