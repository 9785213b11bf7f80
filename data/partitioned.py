"""Rows on local disk, scattered into buckets, so that a catalogue of any size is worked on a bucket at a time.

After Kitsuregawa et al., "Application of hash to data base machine and its architecture" (1983), the Grace hash
join: rows that have to meet are scattered by the same hash, and each bucket then fits into memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BUCKETS = 64


class PartitionedTable:
    """Tables of one schema in BUCKETS files below a folder. Written first, then read; not by several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        self.rows = 0
        folder.mkdir(parents=True)

    def add(self, table: pa.Table, buckets: NDArray[np.integer]) -> None:
        """Append the rows of a table, row i to bucket `buckets[i]`."""
        if not table.num_rows:
            return
        self.rows += table.num_rows
        order = np.argsort(buckets, kind="stable")
        ordered = table.take(pa.array(order)).combine_chunks()
        places = np.searchsorted(buckets[order], np.arange(BUCKETS + 1))
        for bucket in np.flatnonzero(np.diff(places)).tolist():
            start, stop = int(places[bucket]), int(places[bucket + 1])
            self._writer(bucket, table.schema).write_table(ordered.slice(start, stop - start))

    def read(self, bucket: int) -> pa.Table | None:
        """Return one bucket, its rows in the order in which they came; None where it has none."""
        self.seal()
        path = self._path(bucket)
        if not path.exists():
            return None
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
            return reader.read_all()

    def tables(self) -> Iterator[pa.Table]:
        """Yield each bucket that has rows."""
        for bucket in range(BUCKETS):
            table = self.read(bucket)
            if table is not None:
                yield table

    def seal(self) -> None:
        """End writing."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _writer(self, bucket: int, schema: pa.Schema) -> pa.ipc.RecordBatchStreamWriter:
        if bucket not in self._writers:
            self._writers[bucket] = pa.ipc.new_stream(str(self._path(bucket)), schema)
        return self._writers[bucket]

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:03}.arrow"


def id_buckets(ids: Sequence[str]) -> NDArray[np.uint8]:
    """Return the bucket of each product, by its id."""
    return np.fromiter((zlib.crc32(product.encode()) % BUCKETS for product in ids), np.uint8, len(ids))


def hash_buckets(positions: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return the bucket of each picture, by the position of its hash: bucket i holds the i-th range of hashes."""
    return (positions >> (32 - (BUCKETS - 1).bit_length())).astype(np.uint8)


def slices(table: pa.Table, size: int) -> Iterator[pa.Table]:
    """Cut a table into slices of at most `size` rows."""
    for start in range(0, table.num_rows, size):
        yield table.slice(start, size)


def regroup(
    tables: Iterable[pa.Table],
    most: int,
    *,
    weigh: Callable[[pa.Table], Sequence[int]] | None = None,
    most_weight: int = 0,
) -> Iterator[pa.Table]:
    """Cut and join tables so that each has `most` rows, or fewer where those weigh more than `most_weight`.

    Args:
        weigh: returns the weight of each row of a table; default: rows weigh nothing.
    """
    waiting: list[pa.Table] = []
    rows = weight = 0
    for table in tables:
        weights = weigh(table) if weigh else [0] * table.num_rows
        start = 0
        for row, one in enumerate(weights):
            if rows and (rows == most or weight + one > most_weight):
                yield pa.concat_tables([*waiting, table.slice(start, row - start)])
                waiting, start, rows, weight = [], row, 0, 0
            rows += 1
            weight += one
        waiting.append(table.slice(start))
    if rows:
        yield pa.concat_tables(waiting)
