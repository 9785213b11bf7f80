from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT

PIXELS = """
import os
from lookalike.serving.server.memory import LARGE, give_back_memory
from tests.support.watched import resident
give_back_memory()
bytearray(24 * 2**20)  # freed at once: from here on glibc, left alone, keeps such blocks
blocks = [b"x" * LARGE for _ in range(43)]
kept = b"y" * (LARGE // 2)
before = resident(os.getpid())
blocks.clear()
print((before - resident(os.getpid())) // 2**20)
"""


def test_freed_pixels_go_back_to_the_system() -> None:
    """Nearly all of 128 MiB, though a small block lies above; what glibc keeps by itself depends on its version."""
    done = subprocess.run([sys.executable, "-c", PIXELS], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 120


SEARCHES = """
import resource
import numpy as np
from lookalike.serving.server.memory import give_back_memory
give_back_memory()
def search():
    codes = np.ones(2**19, np.uint8)
    return np.ones(2**19, np.float32)
for _ in range(10):
    search()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    search()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_what_a_search_needs_for_a_moment_is_not_mapped_anew_each_time() -> None:
    """Each search of these would touch 640 new pages: a third of the time of a real one."""
    done = subprocess.run([sys.executable, "-c", SEARCHES], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000


COLUMNS = """
import os
from pathlib import Path
from threading import Thread
import pyarrow as pa
import pyarrow.parquet as pq
from lookalike.data.snapshots.duplicates import Duplicates
from lookalike.data.snapshots.products import Products
from lookalike.data.snapshots.mapped.shard_products import write_columns
from lookalike.serving.server.memory import give_back_memory
from tests.support.watched import anonymous
give_back_memory()
numbers = range(200_000)
columns = {
    "id": [f"product {number}" for number in numbers],
    "attributes": [{"brand": str(number % 100), "stock": number} for number in numbers],
    "image_hash": pa.array([number.to_bytes(32, "big") for number in numbers], pa.binary(32)),
}
pq.write_table(pa.table(columns), "products.parquet")
held = []
def swap():
    write_columns(Path("products.parquet"), Path("columns"))
    products = Products.open([Path("columns")])
    held[:] = [(products, Duplicates.of(products, None))]
def swapped():
    thread = Thread(target=swap)
    thread.start()
    thread.join()
    return anonymous(os.getpid())
for _ in range(4):
    swapped()  # until what the table took is free at the end of an arena: it may take three
after = [swapped() for _ in range(6)]
print((max(after) - min(after)) // 2**20)
"""


@pytest.mark.slow
def test_columns_of_a_snapshot_that_was_let_go_go_back(tmp_path: Path) -> None:
    """But for what stays free in arenas: Arrow's own allocator differs by 28 to 40 MB, and glibc alone by 30 to 50."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", COLUMNS], capture_output=True, text=True, check=True, cwd=tmp_path, env=env
    )
    assert int(done.stdout) < 20
