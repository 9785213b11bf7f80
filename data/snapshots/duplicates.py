"""Duplicates: products that show the same picture, and pictures that are nearly the same."""

from __future__ import annotations

import io
from collections.abc import Collection
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

Kind = Literal["exact", "near"]
"""`exact`: the same picture, byte for byte; `near`: that, and pictures that the build found to be near-duplicates."""

_COLUMNS = {"image_hash": HASH, "group": pa.int32()}


class Groups:
    """Rows in groups: `ids` (rows,) are equal for rows of one group."""

    def __init__(self, ids: NDArray[np.int32]) -> None:
        self.ids = ids
        self._order = np.argsort(ids, kind="stable").astype(np.int32)
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(ids))])

    def members(self, row: int) -> NDArray[np.int32]:
        """Return all rows of a row's group, itself among them."""
        group = self.ids[row]
        return self._order[self._starts[group] : self._starts[group + 1]]

    def hidden(self, row: int, allowed: NDArray[np.bool_] | None, without: Collection[int] = ()) -> int:
        """Return how many others of its group a row stands for: those in a mask (rows,), less some rows."""
        members = self.members(row)
        if len(members) == 1:
            return 0
        there = len(members) if allowed is None else int(allowed[members].sum())
        left_out = {row, *without}
        return there - sum(
            bool(self.ids[one] == self.ids[row] and (allowed is None or allowed[one])) for one in left_out
        )


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What shows the same among the rows of a snapshot, strictly and loosely."""

    exact: Groups
    near: Groups

    @classmethod
    def of(cls, hashes: pa.Array, found: pa.Table | None) -> Duplicates:
        """Group rows by the (rows,) hashes of their pictures, and by what a build found, as `read_groups` gives it."""
        encoded = hashes.dictionary_encode()
        ids = np.asarray(encoded.indices)
        exact = Groups(ids)
        if found is None:
            return cls(exact, exact)
        places = pc.index_in(found["image_hash"].combine_chunks(), value_set=encoded.dictionary)
        there = np.asarray(places.is_valid())  # a picture may have left with a refresh
        pictures, groups = np.asarray(places.drop_null()), np.asarray(found["group"].combine_chunks())[there]
        leaders = np.arange(len(encoded.dictionary), dtype=np.int32)
        first = np.full(int(groups.max(initial=-1)) + 1, np.iinfo(np.int32).max, np.int32)
        np.minimum.at(first, groups, pictures)
        leaders[pictures] = first[groups]
        return cls(exact, Groups(leaders[ids]))

    def of_kind(self, kind: Kind) -> Groups:
        """Return one of the two."""
        return self.exact if kind == "exact" else self.near


def to_parquet(hashes: list[bytes], groups: NDArray[np.integer]) -> bytes:
    """Return pictures and the number of the group that each is in, as it is stored."""
    table = pa.table({"image_hash": pa.array(hashes, HASH), "group": pa.array(groups, pa.int32())})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read_groups(file: Path) -> pa.Table:
    """Read the same. Raises `CorruptError`."""
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise CorruptError(f"groups of near-duplicates cannot be read: {error}") from error
    kinds = {field.name: field.type for field in table.schema}
    if kinds != _COLUMNS or any(table[name].null_count for name in _COLUMNS):
        raise CorruptError(f"groups of near-duplicates have the columns {kinds}, not {_COLUMNS}")
    if table.num_rows and pc.min(table["group"]).as_py() < 0:
        raise CorruptError("a group of near-duplicates has a negative number")
    return table
