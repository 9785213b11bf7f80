"""What tests let Dask workers do. It imports little: each worker that starts imports it, and not Prefect."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pyarrow as pa

from lookalike.data.errors import StoreUnavailableError


def doubled(rows: pa.Table) -> list[int]:
    assert rows.column_names == ["n"]
    return [2 * item for item in rows["n"].to_pylist()]


def failing(rows: pa.Table) -> list[int]:
    if 3 in rows["n"].to_pylist():
        raise ValueError("three")
    return []


def killing(rows: pa.Table) -> list[int]:
    if 5 in rows["n"].to_pylist():
        os.kill(os.getpid(), signal.SIGKILL)
    found: list[int] = rows["n"].to_pylist()
    return found


def without_store(rows: pa.Table, away_until: str) -> list[int]:
    if time.time() < float(Path(away_until).read_text()):
        raise StoreUnavailableError("the store is away")
    return doubled(rows)


def slow(rows: pa.Table) -> list[int]:
    time.sleep(5)
    return []


def waited(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
