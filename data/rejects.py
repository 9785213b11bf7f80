"""Rejects: each product that could not be used, with its reason."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import AlreadyExistsError
from data.stores import ObjectStore

SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "reference", "stage", "reason", "message")])


@dataclass(frozen=True, slots=True)
class Reject:
    """A product that was left out.

    Attributes:
        id: the product's id, empty where it has none.
        reference: its image, as the catalogue names it.
        stage: where it failed: `scan`, `read` or `decode`.
        reason: a stable code, such as `truncated`.
        message: for a person.
    """

    id: str
    reference: str
    stage: str
    reason: str
    message: str


def write_rejects(store: ObjectStore, run: str, rejects: Sequence[Reject]) -> str:
    """Write the rejects of one run, also when there are none, and return the object's name."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(reject) for reject in rejects], schema=SCHEMA), buffer)
    key = f"rejects/{run}.parquet"
    with suppress(AlreadyExistsError):  # a stage that was tried again after it had finished
        store.create(key, buffer.getvalue())
    return key


def read_rejects(store: ObjectStore, key: str) -> list[Reject]:
    """Return the rejects of one run."""
    table = pq.read_table(pa.BufferReader(store.read(key)), schema=SCHEMA)
    return [Reject(**row) for row in table.to_pylist()]
