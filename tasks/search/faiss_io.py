"""Read indexes in FAISS's own format, and set how many threads FAISS uses.

No part of an index may be much larger than its file, so a forged length cannot take up the memory. OpenMP counts
threads for each calling thread, and Dask sets one for all of them: so callers of FAISS set their own number.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from lookalike.data.snapshots.mapped.pages import advise

LEAST_BYTES = 2**20  # of memory that a small file may take on top of its own size
TABLES = 8  # times the file: FAISS computes tables from the centroids of product quantisers, of four times their size

_MADV_PAGEOUT = 21  # harmless if they are mapped from no file after all, unlike MADV_DONTNEED
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


def give_back_pages(mapped: NDArray[Any]) -> None:
    """Let the system take back the memory of values that are mapped from a file; they are read again when needed."""
    give_back(mapped.ctypes.data, mapped.ctypes.data + mapped.nbytes)


def give_back_around(mapped: NDArray[Any]) -> None:
    """Let the system take back the memory of what else a file holds of which some values are mapped."""
    first, end = mapped.ctypes.data, mapped.ctypes.data + mapped.nbytes
    for start, stop, file in list_mappings():
        if file and start <= first and end <= stop:
            give_back(start, first)
            give_back(end, stop)


def list_mappings() -> Iterator[tuple[int, int, str]]:
    """Yield where each mapping of this process begins and ends, and its file; nothing where it has none."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, stop = line.split(" ", 1)[0].split("-")
        yield int(start, 16), int(stop, 16), line[line.index("/") :] if "/" in line else ""


def give_back(first: int, end: int) -> None:
    """Let the system take back the memory of the pages between two addresses of a mapped file."""
    advise(first, end, _MADV_PAGEOUT)


def use_threads(count: int) -> None:
    """Let FAISS use `count` threads in calls that this thread makes from now on."""
    faiss.omp_set_num_threads(count)
