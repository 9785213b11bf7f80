"""The products of one shard as a server reads them: a file of arrays that is made once from the shard's Parquet.

Parquet must be decoded to be read. These arrays are mapped, so that a hit costs the pages that it lies on. Products are
found by the hash of their id, and by the hash of their picture, in sorted arrays.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lookalike.data.catalogue.types import is_text
from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.mapped.arrays import Arrays, ArrayWriter
from lookalike.data.snapshots.mapped.cells import Cells, open_cells
from lookalike.data.snapshots.mapped.colour_names import ATTRIBUTE, OWN
from lookalike.data.snapshots.mapped.columns import ColumnPart, add_attribute, open_part, open_valid

COLUMNS = "columns1"
"""The kind of such files in a cache: another layout gets another name, and the file is made again."""
_SHOWN = ("id", "title", "image", "image_hash", "views")
_FIXED_BYTES = 100  # of a hit: numbers, and what Python takes for it at least
_MULTIPLIER = 0x9E3779B97F4A7C15 | 1
_HASHED_AT_A_TIME = 2**16  # ids, to bound memory
_WORD = 2**64 - 1
_MOST_TEXT = 2**31 - 1  # bytes in an array of text with offsets of 32 bits

ReadColumn = Callable[[str], pa.ChunkedArray]


class ShardProducts:
    """The products of one shard, in the order of its rows."""

    def __init__(self, arrays: Arrays, colours: Arrays | None = None) -> None:
        """Look at what `write_columns` wrote, and beside it at what `write_colour_names` did. Raises `CorruptError`."""
        self._arrays = arrays
        self.kinds: dict[str, pa.DataType] = {field.name: field.type for field in arrays["attributes"].type}
        """The attributes' names and types."""
        self._places = {name: (arrays, f"attribute {number}") for number, name in enumerate(self.kinds)}
        self.ids = arrays["id"]
        self.rows = len(self.ids)
        if colours is not None and not OWN.intersection(name.casefold() for name in self.kinds):
            self._add_colours(colours)

    def _add_colours(self, colours: Arrays) -> None:
        names = colours[ATTRIBUTE]
        if len(names) != self.rows:
            raise CorruptError(f"there are colours for {len(names)} of {self.rows} products")
        self.kinds[ATTRIBUTE] = names.type
        self._places[ATTRIBUTE] = colours, ATTRIBUTE

    @classmethod
    def of(cls, table: pa.Table) -> ShardProducts:
        """Hold a table's products in memory."""
        sink = pa.BufferOutputStream()
        _write(sink, table.schema, lambda name: table[name.partition(".")[0]])
        return cls(Arrays(sink.getvalue()))

    def text(self, name: str) -> pa.Array:
        """Return the ids or titles of all rows."""
        return self.ids if name == "id" else self._arrays[name]

    def find(self, product: str) -> Iterator[int]:
        """Yield the rows of a product's id. A row that a refresh replaced is one of them."""
        try:
            wanted = hash_text(product.encode())
        except UnicodeEncodeError:  # half a character: no id has one
            return
        hashes, rows = self._by_id
        place = bisect_left(hashes, wanted)
        while place < self.rows and hashes[place] == wanted:
            row = rows[place]
            if self._base["id"].read(row) == product:
                yield row
            place += 1

    def find_image(self, image_hash: bytes) -> NDArray[np.int64]:
        """Return the rows that show a picture, ascending."""
        hashes, order = self.image_hashes, self._by_image
        if not self.rows or not self._first_and_last[0] <= image_hash <= self._first_and_last[1]:
            return np.empty(0, np.int64)
        wanted = np.frombuffer(image_hash, hashes.dtype)[0]
        first = int(np.searchsorted(hashes, wanted, "left", order))
        last = int(np.searchsorted(hashes, wanted, "right", order))
        return np.arange(first, last) if order is None else np.sort(order[first:last].astype(np.int64))

    @cached_property
    def image_hashes(self) -> NDArray[np.bytes_]:
        """The hash (rows,) of each row's picture."""
        return view_hashes(self._arrays["image_hash"])

    def column(self, name: str) -> ColumnPart:
        """Return an attribute's values. Raises `KeyError`."""
        arrays, key = self._places[name]
        return open_part(arrays, key, self.rows)

    def value(self, name: str, row: int) -> Any:
        """Return one attribute's value in a row, None where it has none. Raises `KeyError`."""
        return self._shown[name].read(row)

    def measure(self, row: int, names: Collection[str]) -> int:
        """Return about how many bytes a row's product takes, with the attributes named."""
        size = _FIXED_BYTES
        for cells in self._base.values():  # `sum` would take twice as long
            size += cells.measure(row)
        for name in names:
            size += self._shown[name].measure(row)
        return size

    def read(self, row: int, names: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a row's product is, and the values of the attributes named."""
        base = {name: cells.read(row) for name, cells in self._base.items()}
        return base, {name: self._shown[name].read(row) for name in names}

    @cached_property
    def _base(self) -> dict[str, Cells]:
        return {name: open_cells(self._arrays[name]) for name in _SHOWN if name in self._arrays}

    @cached_property
    def _shown(self) -> dict[str, Cells]:
        places = self._places.items()
        return {name: open_cells(arrays[key], open_valid(arrays, key)) for name, (arrays, key) in places}

    @cached_property
    def _by_id(self) -> tuple[Sequence[int], Sequence[int]]:
        """Hashes of ids, ascending, and their rows: numbers of Python, of which a search compares twenty."""
        return self._arrays["id hashes"].to_numpy().data, self._arrays["rows by id hash"].to_numpy().data

    @cached_property
    def _by_image(self) -> NDArray[np.uint32] | None:
        """Rows in the order of their pictures' hashes, None where they are in it: builds sort them so."""
        found = self._arrays.get("rows by image hash")
        return None if found is None else found.to_numpy()

    @cached_property
    def _first_and_last(self) -> tuple[bytes, bytes]:
        first, last = (0, -1) if self._by_image is None else (int(self._by_image[0]), int(self._by_image[-1]))
        return bytes(self.image_hashes[first]), bytes(self.image_hashes[last])


def write_columns(source: Path, target: Path) -> None:
    """Write the arrays of a shard's Parquet file, a column at a time, to bound memory. Raises `CorruptError`."""
    try:
        with pq.ParquetFile(source) as file, pa.OSFile(str(target), "wb") as sink:
            _write(sink, file.schema_arrow, lambda name: _read_column(file, name))
    except (pa.ArrowException, KeyError, IndexError, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # of a disk: Arrow sets none for damage
            raise
        raise CorruptError(f"product columns cannot be read: {error}") from error


def _read_column(file: pq.ParquetFile, name: str) -> pa.ChunkedArray:
    return file.read(columns=[name], use_threads=False).column(0)


def _write(sink: pa.NativeFile, schema: pa.Schema, read: ReadColumn) -> None:
    writer = ArrayWriter(sink)
    for name in _SHOWN:
        if name in schema.names or name == "id":
            _add_base(writer, name, _join(read(name)))
    kinds = schema.field("attributes").type if "attributes" in schema.names else pa.struct([])
    writer.add("attributes", pa.array([], kinds))
    for number, kind in enumerate(kinds):
        part = read(f"attributes.{kind.name}")
        field = part.type.get_field_index(kind.name)
        add_attribute(writer, f"attribute {number}", _join(pc.struct_field(part, [field])))
    writer.close()


def _add_base(writer: ArrayWriter, name: str, array: pa.Array) -> None:
    writer.add(name, array)
    if name == "id":
        hashes = hash_texts(array)
        order = np.argsort(hashes, kind="stable")
        writer.add("id hashes", pa.array(hashes[order]))
        writer.add("rows by id hash", pa.array(order.astype(np.uint32)))
    if name == "image_hash":
        shown = view_hashes(array)
        if not _is_sorted(shown):
            writer.add("rows by image hash", pa.array(np.argsort(shown, kind="stable").astype(np.uint32)))


def _join(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array; text that is too long for one gets larger offsets."""
    if is_text(column.type) and column.nbytes > _MOST_TEXT:
        column = column.cast(pa.large_string())
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _is_sorted(hashes: NDArray[np.bytes_]) -> bool:
    """Tell whether hashes ascend, by their beginnings first: whole ones are compared only where these are equal."""
    begin = np.ascontiguousarray(hashes.view(">u8")[:: hashes.itemsize // 8]).astype(np.uint64)
    if (begin[1:] < begin[:-1]).any():
        return False
    equal = np.flatnonzero(begin[1:] == begin[:-1]).tolist()
    return all(hashes[place].tobytes() <= hashes[place + 1].tobytes() for place in equal)


def view_hashes(array: pa.Array) -> NDArray[np.bytes_]:
    """Return hashes as numpy sees them, without a copy."""
    width = array.type.byte_width
    data = array.buffers()[1] or b""
    found: NDArray[np.bytes_] = np.frombuffer(data, f"V{width}", len(array), array.offset * width)
    return found


def hash_text(text: bytes) -> int:
    """Return the hash of one text: what `hash_texts` gives."""
    found = 0
    for letter in reversed(text):
        found = (found * _MULTIPLIER + letter + 1) & _WORD
    return found


def hash_texts(texts: pa.Array) -> NDArray[np.uint64]:
    """Return a hash (n,) of each text. Different texts rarely have the same one: who finds one compares the texts.

    It is a polynomial in the bytes, modulo 2**64. All texts are hashed at once: the sums of bytes times powers are
    taken over all of them, and the power in which a text begins is divided out again.
    """
    parts = [
        _hash_some(texts.slice(start, _HASHED_AT_A_TIME).cast(pa.large_string()))
        for start in range(0, len(texts), _HASHED_AT_A_TIME)
    ]
    return np.concatenate([np.empty(0, np.uint64), *parts])


def _hash_some(texts: pa.LargeStringArray) -> NDArray[np.uint64]:
    _, offsets, data = texts.buffers()
    edges = np.frombuffer(offsets, np.int64, len(texts) + 1, 8 * texts.offset)
    begin, end = int(edges[0]), int(edges[-1])
    letters = np.frombuffer(data or b"", np.uint8, end - begin, begin).astype(np.uint64) + np.uint64(1)
    sums = np.zeros(len(letters) + 1, np.uint64)
    np.cumsum(letters * _list_powers(_MULTIPLIER, len(letters)), out=sums[1:])
    edges = edges - begin
    back = _list_powers(pow(_MULTIPLIER, -1, 2**64), len(letters) + 1)
    return (sums[edges[1:]] - sums[edges[:-1]]) * back[edges[:-1]]


def _list_powers(base: int, count: int) -> NDArray[np.uint64]:
    """Return the (count,) powers of a number from 0 on, modulo 2**64."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    found: NDArray[np.uint64] = np.cumprod(powers)
    return found
