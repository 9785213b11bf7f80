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
blocks = [b"x" * (8 * LARGE) for _ in range(64)]
kept = b"y" * (LARGE // 2)
before = resident(os.getpid())
blocks.clear()
print((before - resident(os.getpid())) // 2**20)
"""


def test_freed_pixels_go_back_to_the_system() -> None:
    """Nearly all of 128 MiB, though a small block lies above; what glibc keeps by itself depends on its version."""
    done = subprocess.run([sys.executable, "-c", PIXELS], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 120


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
from tests.support.watched import resident
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
    return resident(os.getpid())
before = swapped()
print((max(swapped() for _ in range(5)) - before) // 2**20)
"""


@pytest.mark.slow
def test_columns_of_a_snapshot_that_was_let_go_go_back(tmp_path: Path) -> None:
    """Arrow's own allocator keeps 20 MB and more of these, and 250 MB of half a million products."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", COLUMNS], capture_output=True, text=True, check=True, cwd=tmp_path, env=env
    )
    assert int(done.stdout) < 10
