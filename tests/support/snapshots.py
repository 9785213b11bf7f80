"""Snapshots of random bytes: what storing, publishing and collecting need to see of one, and no more."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime
from typing import Any

from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.manifest import (
    CatalogueSection,
    EncoderSection,
    IndexSection,
    Manifest,
    ShardSection,
    SpaceSection,
)
from lookalike.data.stores import ObjectStore


def some_bytes(seed: object, size: int = 300) -> bytes:
    """Return bytes that the seed decides."""
    return random.Random(str(seed)).randbytes(size)


def draft(
    store: ObjectStore,
    seeds: list[Any],
    *,
    run: str = "run-1",
    created_at: datetime | None = None,
    size: int = 300,
) -> Manifest:
    """Upload one shard for each seed, equal seeds giving equal blobs; return the manifest, which is not stored yet."""

    def put(name: object) -> Blob:
        return blobs.put_bytes(store, some_bytes(name, size))

    created_at = created_at or datetime.now(UTC)
    shards = tuple(
        ShardSection.of(index=put(f"index {seed}"), products=put(f"products {seed}"), count=1) for seed in seeds
    )
    encoder = EncoderSection(name="e", fingerprint="f1", dimension=4, spec=put("spec"), model=put("model"))
    index = IndexSection(key="Flat", dimension=4, trained_on=1, reason="a test")
    catalogue = CatalogueSection(
        id=hashlib.sha256(repr(seeds).encode()).hexdigest()[:16], uri="file:///shop", products=len(shards)
    )
    return Manifest.of(
        *(catalogue, SpaceSection.of(encoder, None, index), shards),
        created_at=created_at,
        code_version="0",
        run=run,
        quality={"recall_at_10": 0.99},
    )


def with_image_space(manifest: Manifest, **sections: Any) -> Manifest:
    """Return a manifest whose space of images has other sections; its content hash stays."""
    return manifest.model_copy(update={"spaces": {"image": manifest.image.model_copy(update=sections)}})
