"""Products as a snapshot holds them: columns in the order of the index's rows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.embeddings import HASH
from data.errors import CorruptError, UnknownProductError

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
    """The products of a snapshot; row i belongs to row i of the index."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()
        self._ids = _one_array(self.table["id"])
        self._order = np.asarray(pc.sort_indices(self._ids))  # UTF-8 bytes sort as Python's strings do

    @classmethod
    def open(cls, files: Sequence[Path]) -> Products:
        """Read the shards' Parquet files, in order. Raises `CorruptError`."""
        try:
            return cls(pa.concat_tables([pq.read_table(file) for file in files]))
        except (pa.ArrowInvalid, KeyError, OSError) as error:
            raise CorruptError(f"product columns cannot be read: {error}") from error

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def attributes(self) -> dict[str, pa.DataType]:
        """The attributes' names and types."""
        if "attributes" not in self.table.column_names:
            return {}
        return {field.name: field.type for field in self.table.schema.field("attributes").type}

    def attribute(self, name: str) -> pa.Array:
        """Return one attribute's column. Raises `KeyError`."""
        return pc.struct_field(_one_array(self.table["attributes"]), name)

    def row(self, product: str) -> int:
        """Return the row of a product's id. Raises `UnknownProductError`."""
        place = bisect_left(self._order, product, key=lambda row: self._ids[int(row)].as_py())
        if place < len(self._order):
            row = int(self._order[place])
            if self._ids[row].as_py() == product:
                return row
        raise UnknownProductError(f"there is no product {product!r} in this snapshot")

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> list[Product]:
        """Return the products of some rows, in that order."""
        return [
            Product(row["id"], row["title"], row["image"], row["image_hash"].hex(), row.get("attributes") or {})
            for row in self.table.take(pa.array(rows, pa.int64())).to_pylist()
        ]


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
