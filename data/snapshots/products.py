"""Products as a snapshot holds them: columns in the order of the index's rows.

They are mapped, so a filter over a million rows takes a millisecond, and what nobody asks for costs no memory.
Tombstones are the rows of a shard that can no longer be found, though index and products still hold them.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lookalike.data.catalogue.types import item_type
from lookalike.data.embeddings import HASH
from lookalike.data.errors import CorruptError, UnknownProductError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import ShardSection
from lookalike.data.snapshots.mapped.arrays import Arrays
from lookalike.data.snapshots.mapped.columns import Column, by_part
from lookalike.data.snapshots.mapped.shard_products import ShardProducts
from lookalike.data.stores import ObjectStore

READ_ROWS = 8192

BASE_FIELDS = (
    pa.field("id", pa.string()),
    pa.field("title", pa.string()),
    pa.field("image", pa.string()),
    pa.field("image_version", pa.string()),
    pa.field("image_hash", HASH),
)
VIEWS = "views"
VIEW_TYPE = pa.struct([("image", pa.string()), ("image_version", pa.string()), ("image_hash", HASH)])
VIEWS_FIELD = pa.field(VIEWS, pa.list_(VIEW_TYPE))
"""The further pictures of products; the column is there only if some product has any."""


@dataclass(frozen=True, slots=True)
class View:
    """A picture of a product: where it is, and its hash."""

    image: str
    image_hash: str


@dataclass(frozen=True, slots=True)
class Product:
    """One product. `attributes` are as the catalogue wrote them; `image` is where the first picture is.

    `views` are the further pictures, if there are any.
    """

    id: str
    title: str
    image: str
    image_hash: str
    attributes: dict[str, Any]
    views: tuple[View, ...] = ()

    def view(self, number: int) -> View:
        """Return one of its pictures, the first of which is 1. Raises `IndexError`."""
        if not 1 <= number <= 1 + len(self.views):
            raise IndexError(f"picture {number} of {1 + len(self.views)}")
        return View(self.image, self.image_hash) if number == 1 else self.views[number - 2]


class Products:
    """The products of a snapshot; row i belongs to row i of the index.

    `alive` is a mask (rows,) of those that can be found, None where all can; `columns` are the attributes to filter by.
    """

    def __init__(self, shards: Sequence[ShardProducts], alive: NDArray[np.bool_] | None = None) -> None:
        self.shards = [shard for shard in shards if shard.rows] or list(shards[:1])
        self.starts = np.cumsum([0, *(shard.rows for shard in self.shards)])
        """The first row of each shard, and behind it the number of all rows."""
        self._edges: list[int] = self.starts.tolist()
        self.alive = None if alive is None or alive.all() else alive
        self.attributes: dict[str, pa.DataType] = self.shards[0].kinds
        """The attributes' names and types."""
        if any(shard.kinds != self.attributes for shard in self.shards):
            raise CorruptError("product columns cannot be read: the shards have different attributes")
        self.columns: Mapping[str, Column] = _Columns(self)
        self._count = self.rows if self.alive is None else int(np.count_nonzero(self.alive))

    @classmethod
    def of(cls, *tables: pa.Table, alive: NDArray[np.bool_] | None = None) -> Products:
        """Hold tables, each of a shard, in memory."""
        return cls([ShardProducts.of(table) for table in tables], alive)

    @classmethod
    def open(
        cls, files: Sequence[Path], alive: NDArray[np.bool_] | None = None, colours: Sequence[Path] = ()
    ) -> Products:
        """Map what `write_columns` wrote for each shard, in order, and what `write_colour_names` did if it was asked.

        Raises `CorruptError`.
        """
        names: Sequence[Path | None] = colours or [None] * len(files)
        shards = [
            ShardProducts(Arrays.map(file), Arrays.map(shown) if shown else None)
            for file, shown in zip(files, names, strict=True)
        ]
        return cls(shards, alive)

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> int:
        """How many rows there are, those that cannot be found included."""
        return int(self.starts[-1])

    def any_id(self, place: int = 0) -> str:
        """Return the id of some product that can be found: another one for each place below `len`."""
        row = place if self.alive is None else int(np.flatnonzero(self.alive)[place])
        shard, local = self._locate(row)
        found: str = shard.ids[local].as_py()
        return found

    def text(self, name: str) -> pa.ChunkedArray:
        """Return the ids or titles of all rows, a chunk for each shard."""
        return pa.chunked_array([shard.text(name) for shard in self.shards])

    def texts(self, name: str, rows: NDArray[np.int64]) -> pa.Array:
        """Return the ids or titles of some rows."""
        found, order = [pa.array([], pa.large_string())], [np.empty(0, np.int64)]
        for number, places, local in by_part(rows, self.starts[:-1]):
            found.append(self.shards[number].text(name).take(pa.array(local)).cast(pa.large_string()))
            order.append(places)
        return pa.concat_arrays(found).take(pa.array(np.argsort(np.concatenate(order))))

    def values(self, name: str, rows: NDArray[np.int64]) -> list[Any]:
        """Return one attribute's values in some rows, None where a row has none. Raises `KeyError`."""
        return [shard.value(name, local) for shard, local in map(self._locate, rows.tolist())]

    def row(self, product: str) -> int:
        """Return the row of a product's id. Raises `UnknownProductError`."""
        row = self._find(product)
        if row is None:
            raise UnknownProductError(f"there is no product {product!r} in this snapshot")
        return row

    def has(self, product: str) -> bool:
        """Tell whether there is a product of this id that can be found."""
        return self._find(product) is not None

    def rows_of_image(self, image_hash: bytes) -> NDArray[np.int64]:
        """Return all rows that show a picture, ascending, those that cannot be found included."""
        found = [shard.find_image(image_hash) + start for shard, start in zip(self.shards, self._edges, strict=False)]
        return np.concatenate(found)

    def image_hash(self, row: int) -> bytes:
        """Return the hash of a row's picture."""
        shard, local = self._locate(row)
        return bytes(shard.image_hashes[local])

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
        wanted = [name for name in self.attributes if names is None or name in names]
        places = [self._locate(int(row)) for row in rows]
        if check is not None:
            check(sum(shard.measure(local, wanted) for shard, local in places))
        return [_to_product(*shard.read(local, wanted)) for shard, local in places]

    def _find(self, product: str) -> int | None:
        for shard, start in zip(self.shards, self._edges, strict=False):
            for local in shard.find(product):
                if self.alive is None or self.alive[start + local]:
                    return start + local
        return None

    def _locate(self, row: int) -> tuple[ShardProducts, int]:
        """Return the shard of a row, and its row there. Raises `IndexError`."""
        if not 0 <= row < self._edges[-1]:
            raise IndexError(f"row {row} of {self.rows}")
        number = bisect_right(self._edges, row) - 1
        return self.shards[number], row - self._edges[number]


class _Columns(Mapping[str, Column]):
    """The columns of all shards, each looked at when it is asked for the first time."""

    def __init__(self, products: Products) -> None:
        self._shards = products.shards
        self._starts = products.starts[:-1]
        self._kinds = products.attributes
        self._known: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        column = self._known.get(name)
        if column is None:
            parts = [shard.column(name) for shard in self._shards]
            column = self._known[name] = Column(item_type(self._kinds[name]), parts, self._starts)
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)


def _to_product(base: dict[str, Any], attributes: dict[str, Any]) -> Product:
    views = tuple([View(view["image"], view["image_hash"].hex()) for view in base.get(VIEWS) or ()])
    return Product(base["id"], base["title"], base["image"], base["image_hash"].hex(), attributes, views)


def with_views(products: pa.Table) -> pa.Table:
    """Return products with the column of further pictures, which none of them has."""
    return products.append_column(VIEWS_FIELD, pa.array([[]] * products.num_rows, VIEWS_FIELD.type))


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
