"""Tombstones: the rows of a shard that can no longer be found, though index and products still hold them."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import ShardSection
from lookalike.data.stores import ObjectStore


def to_bytes(rows: NDArray[np.integer]) -> bytes:
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
