"""Hashes of pictures that were read, kept until a snapshot holds them: after a run that died, none is read twice."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lookalike.data.embeddings import HASH
from lookalike.data.errors import AlreadyExistsError, NotFoundError
from lookalike.data.stores import ObjectStore

FOLDER = "hashes/"
NAME = re.compile(rf"{FOLDER}[0-9a-f]{{32}}[.]parquet")  # what others put there is neither read nor deleted
SCHEMA = pa.schema([("id", pa.string()), ("image", pa.string()), ("image_version", pa.string()), ("image_hash", HASH)])


def write_hashes(store: ObjectStore, table: pa.Table) -> None:
    """Store which hash the picture of a product has, in the version in which it was read."""
    buffer = io.BytesIO()
    pq.write_table(table.select(SCHEMA.names).cast(SCHEMA), buffer, compression="zstd")
    data = buffer.getvalue()
    with suppress(AlreadyExistsError):  # the same pictures, read again after an answer was lost
        store.create(f"{FOLDER}{hashlib.sha256(data).hexdigest()[:32]}.parquet", data)


def list_hashes(store: ObjectStore) -> list[str]:
    """Return the names of all such files."""
    return [found.key for found in store.list(FOLDER) if NAME.fullmatch(found.key)]


def read_hashes(store: ObjectStore, key: str) -> pa.Table:
    """Return one of them, with the columns of SCHEMA; empty where it is gone meanwhile."""
    try:
        return pq.read_table(pa.BufferReader(store.read(key))).cast(SCHEMA)
    except NotFoundError:
        return SCHEMA.empty_table()


def forget_hashes(store: ObjectStore, keys: Iterable[str]) -> None:
    """Remove files that a snapshot has made superfluous."""
    for key in keys:
        store.delete(key)


def known_hashes(table: pa.Table, hashes: Sequence[bytes | None]) -> pa.Table:
    """Return the rows of a table whose picture has a hash and a version, as `write_hashes` takes them."""
    hashed = table.select(["id", "image", "image_version"]).append_column("image_hash", pa.array(hashes, HASH))
    return hashed.filter(pc.and_(hashed["image_hash"].is_valid(), hashed["image_version"].is_valid()))
