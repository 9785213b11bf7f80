"""Duplicates: products that show the same picture, and pictures that are nearly the same."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lookalike.data.embeddings import HASH
from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.mapped.arrays import Arrays, ArrayWriter
from lookalike.data.snapshots.mapped.shard_products import view_hashes
from lookalike.data.snapshots.products import Products

Kind = Literal["exact", "near"]
"""`exact`: the same picture, byte for byte; `near`: that, and pictures that the build found to be near-duplicates."""

GROUPS = "groups1"
"""The kind of files of `write_groups` in a cache: another layout gets another name."""
_COLUMNS = {"image_hash": HASH, "group": pa.int32()}


class Groups(ABC):
    """Rows in groups."""

    @abstractmethod
    def keys(self, rows: NDArray[np.int64]) -> list[Hashable]:
        """Return the group of each row: keys are equal for rows of one group."""

    @abstractmethod
    def members(self, row: int) -> NDArray[np.int64]:
        """Return all rows of a row's group, itself among them, ascending."""

    def hidden(self, row: int, allowed: NDArray[np.bool_] | None, without: Collection[int] = ()) -> int:
        """Return how many others of its group a row stands for: those in a mask (rows,), less some rows."""
        members = self.members(row)
        if len(members) == 1:
            return 0
        there = len(members) if allowed is None else int(allowed[members].sum())
        left_out = {row, *without}
        return there - sum(bool(one in left_out and (allowed is None or allowed[one])) for one in members.tolist())


class SamePicture(Groups):
    """Rows that show the same picture, found by its hash."""

    def __init__(self, products: Products) -> None:
        self._products = products

    def keys(self, rows: NDArray[np.int64]) -> list[Hashable]:
        return [self._products.image_hash(row) for row in rows.tolist()]

    def members(self, row: int) -> NDArray[np.int64]:
        return self._products.rows_of_image(self._products.image_hash(row))


class NearPictures(Groups):
    """Rows that show the same picture, or pictures of one group that a build found."""

    def __init__(self, products: Products, found: Arrays) -> None:
        self._products = products
        self._hashes = view_hashes(found["image_hash"])
        self._groups = found["group"].to_numpy()
        self._by_group = found["by group"].to_numpy()

    def keys(self, rows: NDArray[np.int64]) -> list[Hashable]:
        return [self._key(self._products.image_hash(row)) for row in rows.tolist()]

    def members(self, row: int) -> NDArray[np.int64]:
        shown = self._products.image_hash(row)
        group = self._find_group(shown)
        if group is None:
            return self._products.rows_of_image(shown)
        first, last = np.searchsorted(self._groups, [group, group + 1], sorter=self._by_group)
        pictures = {bytes(self._hashes[place]) for place in self._by_group[first:last]}
        return np.sort(np.concatenate([self._products.rows_of_image(one) for one in pictures]))

    def _key(self, image_hash: bytes) -> Hashable:
        group = self._find_group(image_hash)
        return image_hash if group is None else group

    def _find_group(self, image_hash: bytes) -> int | None:
        wanted = np.frombuffer(image_hash, self._hashes.dtype)[0]
        place = int(np.searchsorted(self._hashes, wanted))
        if place == len(self._hashes) or bytes(self._hashes[place]) != image_hash:
            return None
        return int(self._groups[place])


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What shows the same among the rows of a snapshot, strictly and loosely."""

    exact: Groups
    near: Groups

    @classmethod
    def of(cls, products: Products, found: Arrays | None) -> Duplicates:
        """Group rows by the hashes of their pictures, and by what a build found, as `write_groups` gives it."""
        exact = SamePicture(products)
        return cls(exact, exact if found is None else NearPictures(products, found))

    def of_kind(self, kind: Kind) -> Groups:
        """Return one of the two."""
        return self.exact if kind == "exact" else self.near


def write_groups(source: Path, target: Path) -> None:
    """Write the groups of a Parquet file as arrays: pictures in the order of their hashes. Raises `CorruptError`."""
    table = read_groups(source)
    hashes = table["image_hash"].combine_chunks()
    order = np.argsort(view_hashes(hashes), kind="stable")
    groups = table["group"].to_numpy()[order]
    with pa.OSFile(str(target), "wb") as sink:
        writer = ArrayWriter(sink)
        writer.add("image_hash", hashes.take(pa.array(order)))
        writer.add("group", pa.array(groups))
        writer.add("by group", pa.array(np.argsort(groups, kind="stable").astype(np.uint32)))
        writer.close()


def to_parquet(hashes: list[bytes], groups: NDArray[np.integer]) -> bytes:
    """Return pictures and the number of the group that each is in, as it is stored."""
    table = pa.table({"image_hash": pa.array(hashes, HASH), "group": pa.array(groups, pa.int32())})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read_groups(file: Path) -> pa.Table:
    """Read the same. Raises `CorruptError`."""
    try:
        table = pq.read_table(file, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise CorruptError(f"groups of near-duplicates cannot be read: {error}") from error
    kinds = {field.name: field.type for field in table.schema}
    if kinds != _COLUMNS or any(table[name].null_count for name in _COLUMNS):
        raise CorruptError(f"groups of near-duplicates have the columns {kinds}, not {_COLUMNS}")
    if table.num_rows and pc.min(table["group"]).as_py() < 0:
        raise CorruptError("a group of near-duplicates has a negative number")
    return table
