"""Products as a snapshot holds them: columns in the order of the index's rows.

Attributes are held as numpy sees them, so that a filter over a million rows takes a millisecond. Tombstones are the
rows of a shard that can no longer be found, though index and products still hold them.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lookalike.data.catalogue.types import is_list, is_text
from lookalike.data.embeddings import HASH
from lookalike.data.errors import CorruptError, UnknownProductError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import ShardSection
from lookalike.data.stores import ObjectStore

READ_ROWS = 8192

BASE_FIELDS = (
    pa.field("id", pa.string()),
    pa.field("title", pa.string()),
    pa.field("image", pa.string()),
    pa.field("image_version", pa.string()),
    pa.field("image_hash", HASH),
)
_SHORT = 32  # items of a list


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

    def take(
        self,
        rows: Sequence[int] | NDArray[np.int64],
        *,
        names: Collection[str] | None = None,
        check: Callable[[int], None] | None = None,
    ) -> list[Product]:
        """Return the products of some rows, in that order, with the attributes named, or all of them.

        `check` gets the bytes of what will be returned, before it is made, and may raise.
        """
        table = self.table if names is None else self._with_attributes(names)
        taken = table.take(pa.array(rows, pa.int64()))
        if check is not None:
            check(taken.nbytes)
        return [
            Product(row["id"], row["title"], row["image"], row["image_hash"].hex(), row.get("attributes") or {})
            for row in taken.to_pylist()
        ]

    def _with_attributes(self, names: Collection[str]) -> pa.Table:
        base = self.table.select([name for name in self.table.column_names if name != "attributes"])
        kept = [name for name in self.attributes if name in names]
        if not kept:
            return base
        arrays = [self._attribute(name) for name in kept]
        return base.append_column("attributes", pa.StructArray.from_arrays(arrays, kept))

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


@dataclass(frozen=True, slots=True)
class Column:
    """An attribute's values in the order of their rows.

    Attributes:
        kind: of one value, as the snapshot stores it.
        rows: how many products there are.
        values: (n,) numbers or booleans; days and microseconds since 1970 or midnight; for text, places in `words`.
        valid: a mask (n,) of those that are there, None where all are, as they are for lists.
        words: each text once, None for other types.
        owners: for lists the (n,) row that each value belongs to, a value of a row once; None where each row has one.
    """

    kind: pa.DataType
    rows: int
    values: NDArray[Any]
    valid: NDArray[np.bool_] | None
    words: pa.StringArray | None
    owners: NDArray[np.int64] | None

    @classmethod
    def of(cls, array: pa.Array) -> Column:
        """Look at an attribute's values."""
        rows = len(array)
        if not is_list(array.type):
            return cls(array.type, rows, *_values(array), None)
        lengths = np.asarray(pc.list_value_length(array).fill_null(0))
        owners = np.repeat(np.arange(rows, dtype=np.int64), lengths)
        items = array.flatten()
        values, valid, words = _values(items)
        if valid is not None:
            values, owners = values[valid], owners[valid]
        if (again := _find_repeated(values, owners)).any():
            values, owners = values[~again], owners[~again]
        return cls(items.type, rows, values, None, words, owners)

    def to_rows(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Turn a mask (n,) of values into one (rows,) of the products that have one of them."""
        present = mask if self.valid is None else mask & self.valid
        if self.owners is None:
            return present
        rows = np.zeros(self.rows, bool)
        rows[self.owners[present]] = True
        return rows

    def of_rows(self, mask: NDArray[np.bool_] | None) -> NDArray[Any]:
        """Return the values of the products in a mask (rows,), of all where there is none."""
        chosen = mask if mask is None or self.owners is None else mask[self.owners]
        if chosen is None:
            return self.values if self.valid is None else self.values[self.valid]
        return self.values[chosen if self.valid is None else chosen & self.valid]


def _find_repeated(values: NDArray[Any], owners: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which values their rows have already."""
    again = np.zeros(len(values), bool)
    for shift in range(1, _SHORT + 1):  # of short lists, looking at each neighbour takes a hundredth of sorting
        same = owners[shift:] == owners[:-shift]
        if not same.any():
            return again
        again[shift:] |= same & (values[shift:] == values[:-shift])
    order = np.lexsort((values, owners))
    same = (np.diff(owners[order]) == 0) & (values[order][1:] == values[order][:-1])
    again[order[1:]] = same
    return again


def _values(array: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_] | None, pa.StringArray | None]:
    valid = np.asarray(array.is_valid()) if array.null_count else None
    if is_text(array.type):
        encoded = array.cast(pa.string()).dictionary_encode()
        return _numpy(encoded.indices), valid, encoded.dictionary
    values = _numpy(_as_numbers(array))
    if values.dtype.kind == "f" and np.isnan(values).any():  # JSON shows no NaN: it is a value that is not there
        there = ~np.isnan(values)
        valid = there if valid is None else valid & there
    return values, valid, None


def _as_numbers(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_decimal(kind):
        return array.cast(pa.large_string()).cast(pa.float64())  # Arrow's own cast makes 0.35000000000000003 of 0.35
    if pa.types.is_date(kind):
        return array.cast(pa.date32()).view(pa.int32())
    if pa.types.is_timestamp(kind):
        return pc.cast(array, options=_truncating(pa.timestamp("us", kind.tz))).view(pa.int64())
    if pa.types.is_time(kind):
        return pc.cast(array, options=_truncating(pa.time64("us"))).view(pa.int64())
    return array


def _truncating(kind: pa.DataType) -> pc.CastOptions:
    return pc.CastOptions(target_type=kind, allow_time_truncate=True)


def _numpy(array: pa.Array) -> NDArray[Any]:
    if array.null_count:
        array = array.fill_null(pa.scalar(0).cast(array.type))
    found: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return found


def tombstones_to_bytes(rows: NDArray[np.integer]) -> bytes:
    """Return (n,) rows as a `.npy` of sorted uint32."""
    buffer = io.BytesIO()
    np.save(buffer, np.unique(rows).astype(np.uint32), allow_pickle=False)
    return buffer.getvalue()


def alive_rows(shard: ShardSection, tombstones: bytes | None) -> NDArray[np.bool_]:
    """Return a mask (shard.count,) of the rows that can be found. Raises `CorruptError`."""
    alive = np.ones(shard.count, bool)
    if tombstones is None:
        return alive
    try:
        dead = np.load(io.BytesIO(tombstones), allow_pickle=False)
    except ValueError as error:
        raise CorruptError(f"tombstones cannot be read: {error}") from error
    if dead.dtype != np.uint32 or dead.shape != (shard.dead,) or (dead.size and int(dead.max()) >= shard.count):
        raise CorruptError(
            f"tombstones are {dead.dtype}{dead.shape}, the manifest promises {shard.dead} of {shard.count}"
        )
    alive[dead] = False
    return alive


def read_alive_rows(store: ObjectStore, shard: ShardSection) -> NDArray[np.bool_]:
    """Return the same of a shard in a store."""
    return alive_rows(shard, blobs.read(store, shard.tombstones) if shard.tombstones else None)
