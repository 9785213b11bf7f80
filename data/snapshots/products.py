"""Products as a snapshot holds them: columns in the order of the index's rows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lookalike.data.embeddings import HASH
from lookalike.data.errors import CorruptError, UnknownProductError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.columns import Column
from lookalike.data.snapshots.manifest import ShardSection
from lookalike.data.snapshots.tombstones import read_alive_rows
from lookalike.data.stores import ObjectStore

READ_ROWS = 8192

BASE_FIELDS = (
    pa.field("id", pa.string()),
    pa.field("title", pa.string()),
    pa.field("image", pa.string()),
    pa.field("image_version", pa.string()),
    pa.field("image_hash", HASH),
)


@dataclass(frozen=True, slots=True)
class Product:
    """One product. `attributes` are as the catalogue wrote them; `image` is where the picture is."""

    id: str
    title: str
    image: str
    image_hash: str
    attributes: dict[str, Any]


class Products:
    """The products of a snapshot; row i belongs to row i of the index.

    `alive` is a mask (rows,) of those that can be found, None where all can; `columns` are the attributes to filter by.
    """

    def __init__(self, table: pa.Table, alive: NDArray[np.bool_] | None = None) -> None:
        self.table = table.combine_chunks()
        self.alive = None if alive is None or alive.all() else alive
        self._ids = _one_array(self.table["id"])
        order = np.asarray(pc.sort_indices(self._ids))  # UTF-8 bytes sort as Python's strings do
        self._order = order if self.alive is None else order[self.alive[order]]
        self.columns = {name: Column.of(self._attribute(name)) for name in self.attributes}

    @classmethod
    def open(cls, files: Sequence[Path], alive: NDArray[np.bool_] | None = None) -> Products:
        """Read the shards' Parquet files, in order. Raises `CorruptError`."""
        try:
            return cls(pa.concat_tables([pq.read_table(file, use_threads=False) for file in files]), alive)
        except (pa.ArrowInvalid, KeyError, OSError) as error:
            raise CorruptError(f"product columns cannot be read: {error}") from error

    def __len__(self) -> int:
        return len(self._order)

    @property
    def rows(self) -> int:
        """How many rows there are, those that cannot be found included."""
        return int(self.table.num_rows)

    def any_id(self, place: int = 0) -> str:
        """Return the id of some product that can be found: another one for each place below `len`."""
        found: str = self._ids[int(self._order[place])].as_py()
        return found

    @cached_property
    def attributes(self) -> dict[str, pa.DataType]:
        """The attributes' names and types."""
        if "attributes" not in self.table.column_names:
            return {}
        return {field.name: field.type for field in self.table.schema.field("attributes").type}

    @property
    def image_hashes(self) -> pa.Array:
        """The hash of each row's picture."""
        return _one_array(self.table["image_hash"])

    def values(self, name: str, rows: NDArray[np.int64]) -> list[Any]:
        """Return one attribute's values in some rows, None where a row has none. Raises `KeyError`."""
        found: list[Any] = self._attribute(name).take(pa.array(rows, pa.int64())).to_pylist()
        return found

    def row(self, product: str) -> int:
        """Return the row of a product's id. Raises `UnknownProductError`."""
        place = bisect_left(self._order, product, key=lambda row: self._ids[int(row)].as_py())
        if place < len(self._order):
            row = int(self._order[place])
            if self._ids[row].as_py() == product:
                return row
        raise UnknownProductError(f"there is no product {product!r} in this snapshot")

    def has(self, product: str) -> bool:
        """Tell whether there is a product of this id that can be found."""
        try:
            self.row(product)
        except UnknownProductError:
            return False
        return True

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> list[Product]:
        """Return the products of some rows, in that order."""
        return [
            Product(row["id"], row["title"], row["image"], row["image_hash"].hex(), row.get("attributes") or {})
            for row in self.table.take(pa.array(rows, pa.int64())).to_pylist()
        ]

    def _attribute(self, name: str) -> pa.Array:
        return pc.struct_field(_one_array(self.table["attributes"]), name)


def read_shard_products(store: ObjectStore, shard: ShardSection) -> Iterator[tuple[pa.Table, NDArray[np.int64]]]:
    """Yield a shard's products that can be found, some thousand at a time, each with its row in the shard.

    Raises `CorruptError`, `NotFoundError`.
    """
    alive = read_alive_rows(store, shard)
    start = 0
    try:
        with pq.ParquetFile(pa.BufferReader(blobs.read(store, shard.products))) as file:
            for batch in file.iter_batches(READ_ROWS):
                rows = np.flatnonzero(alive[start : start + batch.num_rows])
                yield pa.Table.from_batches([batch]).take(pa.array(rows)), rows + start
                start += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise CorruptError(f"{shard.products.key} holds no products: {error}") from error


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
