"""Normalised catalogues in a store: what one run found, with the hash of each picture."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq

from data.embeddings import hash_array, positions
from data.errors import AlreadyExistsError, NotFoundError
from data.stores import ObjectStore

PRODUCTS_PER_FILE = 250_000


def catalogue_id(products: pa.Table) -> str:
    """Return an id that says the content: equal for two catalogues with the same products."""
    digest = hashlib.sha256()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, products.schema.remove_metadata()) as writer:
        writer.write_table(_in_order(products))
    digest.update(sink.getvalue())
    return digest.hexdigest()[:16]


def write_catalogue(store: ObjectStore, products: pa.Table) -> str:
    """Write products with their `image_hash`, cut by ranges of it; return the catalogue's id."""
    name = catalogue_id(products)
    ordered = _in_order(products)
    for start in range(0, ordered.num_rows, PRODUCTS_PER_FILE):
        part = ordered.slice(start, PRODUCTS_PER_FILE)
        places = positions(hash_array(part["image_hash"]))
        buffer = io.BytesIO()
        pq.write_table(part, buffer, compression="zstd")
        with suppress(AlreadyExistsError):  # the same catalogue, written by an earlier run
            store.create(f"catalogues/{name}/products-{places[0]:08x}-{places[-1]:08x}.parquet", buffer.getvalue())
    return name


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


def _in_order(products: pa.Table) -> pa.Table:
    """Sort by picture, then id: an order that depends on nothing but the products themselves."""
    ordered = products.sort_by([("image_hash", "ascending"), ("id", "ascending")])
    return ordered.combine_chunks()
