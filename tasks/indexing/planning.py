"""The planner: which index fits a catalogue, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass

from data.manifest import Manifest
from tasks.indexing.projection import projected_dimension

FLAT_UP_TO = 50_000  # exact search over as many vectors of 256 dimensions takes about 5 ms on one core
PRODUCTS_PER_SHARD = 250_000
TRAINING_SAMPLE = 65_536
TARGET_DIMENSION = 256
GROWTH = 2.0  # trained parts stay good while the catalogue has not doubled or halved since


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build.

    Attributes:
        products: for how many.
        key: FAISS factory string of every shard.
        dimension: of the indexed vectors.
        project: whether the encoder's vectors are projected to that dimension, or indexed as they are.
        shards: how many.
        keep_trained: whether the parent snapshot's projection and trained index are used again.
        reason: for a person.
    """

    products: int
    key: str
    dimension: int
    project: bool
    shards: int
    keep_trained: bool
    reason: str


def plan(
    products: int, encoder_dimension: int, fingerprint: str, *, shards: int | None, parent: Manifest | None
) -> Plan:
    """Choose index type, dimension and shards for so many products; keep what `parent` was trained to where it fits."""
    wanted = shards or math.ceil(products / PRODUCTS_PER_SHARD)
    if parent and _still_fits(parent, products, fingerprint):
        return Plan(
            products,
            parent.index.key,
            parent.index.dimension,
            parent.index.projection is not None,
            wanted,
            keep_trained=True,
            reason=f"as in snapshot {parent.id}, trained on {parent.index.trained_on:,} products",
        )
    target = projected_dimension(min(products, TRAINING_SAMPLE), encoder_dimension, TARGET_DIMENSION)
    dimension = target or encoder_dimension
    key, why = _index_key(products)
    space = f"PCA with whitening to {dimension} dimensions" if target else "too few products to learn a projection from"
    return Plan(products, key, dimension, target is not None, wanted, keep_trained=False, reason=f"{why}; {space}")


def _index_key(products: int) -> tuple[str, str]:
    if products <= FLAT_UP_TO:
        return "Flat", f"{products:,} products: exact search is fast enough"
    lists = 2 ** round(math.log2(4 * math.sqrt(products)))
    return f"IVF{lists},SQ8", f"{products:,} products: inverted lists with one byte a dimension"


def _still_fits(parent: Manifest, products: int, fingerprint: str) -> bool:
    ratio = products / parent.index.trained_on
    return parent.encoder.fingerprint == fingerprint and 1 / GROWTH < ratio < GROWTH
