"""Normalised catalogues in a store: what one run found, with the hash of each picture.

The hashes of pictures that were read are kept on their own until a snapshot holds them: after a run that died, no
picture is read twice.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lookalike.data.embeddings import HASH, hash_array, positions
from lookalike.data.errors import AlreadyExistsError, NotFoundError
from lookalike.data.stores import ObjectStore

PRODUCTS_PER_FILE = 16_384
HASHES_FOLDER = "hashes/"
# what others put there is neither read nor deleted
HASHES_NAME = re.compile(rf"{HASHES_FOLDER}[0-9a-f]{{32}}[.]parquet")
HASHES_SCHEMA = pa.schema(
    [("id", pa.string()), ("image", pa.string()), ("image_version", pa.string()), ("image_hash", HASH)]
)


class LocalCatalogue:
    """A normalised catalogue in local files, to be stored when it turns out to be wanted.

    Attributes:
        id: says the content: equal for two catalogues with the same products.
        products: how many.
    """

    def __init__(self, folder: Path, ranges: Iterable[pa.Table]) -> None:
        """Write products with their `image_hash`, which come in ranges of it, one range after the other."""
        self._files: list[tuple[Path, str]] = []
        self.products = 0
        digest = hashlib.sha256()
        for part in _coalesce(ranges):
            ordered = _in_order(part)
            digest.update(_digest(ordered))
            places = positions(hash_array(ordered["image_hash"]))
            path = folder / f"{len(self._files)}.parquet"
            pq.write_table(ordered, path, compression="zstd")
            self._files.append((path, f"products-{places[0]:08x}-{places[-1]:08x}.parquet"))
            self.products += ordered.num_rows
        self.id = digest.hexdigest()[:16]

    def store(self, store: ObjectStore) -> None:
        """Bring the files into a store."""
        for path, name in self._files:
            store.upload(f"catalogues/{self.id}/{name}", path)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the products, a file at a time."""
        return (pq.read_table(path) for path, _ in self._files)

    def places(self) -> NDArray[np.uint32]:
        """Return the position of each product's picture among all hashes, in order."""
        columns = (pq.read_table(path, columns=["image_hash"])["image_hash"] for path, _ in self._files)
        return np.concatenate([np.empty(0, np.uint32), *(positions(hash_array(column)) for column in columns)])


def read_catalogue_range(store: ObjectStore, name: str, start: int = 0, stop: int = 2**32) -> pa.Table:
    """Return the products whose picture's hash lies in `start <= position < stop`. Raises `NotFoundError`."""
    files = list(store.list(f"catalogues/{name}/"))
    if not files:
        raise NotFoundError(f"the store has no catalogue {name}")
    keys = [found.key for found in files if _overlaps(found.key, start, stop)] or [files[0].key]
    table = pa.concat_tables([pq.read_table(pa.BufferReader(store.read(key))) for key in keys])
    places = positions(hash_array(table["image_hash"]))
    return table.filter(pa.array((places >= start) & (places < stop)))


def _overlaps(key: str, start: int, stop: int) -> bool:
    _, first, last = key.removesuffix(".parquet").rsplit("-", 2)
    return int(first, 16) < stop and int(last, 16) >= start


def _coalesce(ranges: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join ranges until they make a file."""
    waiting: list[pa.Table] = []
    for table in ranges:
        waiting.append(table)
        if sum(part.num_rows for part in waiting) >= PRODUCTS_PER_FILE:
            yield pa.concat_tables(waiting)
            waiting = []
    if any(part.num_rows for part in waiting):
        yield pa.concat_tables(waiting)


def _digest(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).digest()


def _in_order(products: pa.Table) -> pa.Table:
    """Sort by picture, then id: an order that depends on nothing but the products themselves."""
    ordered = products.sort_by([("image_hash", "ascending"), ("id", "ascending")])
    return ordered.combine_chunks()


def write_hashes(store: ObjectStore, table: pa.Table) -> None:
    """Store which hash the picture of a product has, in the version in which it was read."""
    buffer = io.BytesIO()
    pq.write_table(table.select(HASHES_SCHEMA.names).cast(HASHES_SCHEMA), buffer, compression="zstd")
    data = buffer.getvalue()
    with suppress(AlreadyExistsError):  # the same pictures, read again after an answer was lost
        store.create(f"{HASHES_FOLDER}{hashlib.sha256(data).hexdigest()[:32]}.parquet", data)


def list_hashes(store: ObjectStore) -> list[str]:
    """Return the names of all such files."""
    return [found.key for found in store.list(HASHES_FOLDER) if HASHES_NAME.fullmatch(found.key)]


def read_hashes(store: ObjectStore, key: str) -> pa.Table:
    """Return one of them, with the columns of HASHES_SCHEMA; empty where it is gone meanwhile."""
    try:
        return pq.read_table(pa.BufferReader(store.read(key))).cast(HASHES_SCHEMA)
    except NotFoundError:
        return HASHES_SCHEMA.empty_table()


def forget_hashes(store: ObjectStore, keys: Iterable[str]) -> None:
    """Remove files that a snapshot has made superfluous."""
    for key in keys:
        store.delete(key)


def known_hashes(table: pa.Table, hashes: Sequence[bytes | None]) -> pa.Table:
    """Return the rows of a table whose picture has a hash and a version, as `write_hashes` takes them."""
    hashed = table.select(["id", "image", "image_version"]).append_column("image_hash", pa.array(hashes, HASH))
    return hashed.filter(pc.and_(hashed["image_hash"].is_valid(), hashed["image_version"].is_valid()))
