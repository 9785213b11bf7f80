"""The planner's choices, and when it keeps what was trained."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from data.blobs import Blob
from data.manifest import CatalogueSection, EncoderSection, IndexSection, Manifest, ShardSection
from tasks.indexing.planning import Plan, plan

BLOB = Blob(sha256="0" * 64, size=1)


def parent(trained_on: int, fingerprint: str = "f") -> Manifest:
    return Manifest(
        id="20260101T000000Z-00000000",
        content="0" * 64,
        created_at=datetime.now(UTC),
        code_version="0",
        run="r",
        parent=None,
        catalogue=CatalogueSection(id="c", uri="u", products=trained_on),
        encoder=EncoderSection(name="e", fingerprint=fingerprint, dimension=1280, spec=BLOB, model=BLOB),
        index=IndexSection(key="Flat", dimension=128, projection=BLOB, trained_on=trained_on, reason=""),
        shards=(ShardSection(index=BLOB, products=BLOB, count=trained_on),),
        quality={},
    )


def planned(products: int, shards: int | None = None, base: Manifest | None = None) -> Plan:
    return plan(products, 1280, "f", shards=shards, parent=base)


@pytest.mark.parametrize(
    ("products", "key", "dimension", "shards"),
    [
        (1, "Flat", 1280, 1),
        (2000, "Flat", 256, 1),
        (50_000, "Flat", 256, 1),
        (50_001, "IVF1024,SQ8", 256, 1),
        (1_000_000, "IVF4096,SQ8", 256, 4),
    ],
)
def test_chooses_by_size(products: int, key: str, dimension: int, shards: int) -> None:
    chosen = planned(products)
    assert (chosen.key, chosen.dimension, chosen.shards) == (key, dimension, shards)
    assert f"{products:,} products" in chosen.reason


def test_takes_the_shards_that_were_asked_for() -> None:
    assert planned(1000, shards=3).shards == 3


@pytest.mark.parametrize(("products", "kept"), [(1001, True), (1999, True), (2001, False), (600, True), (400, False)])
def test_keeps_what_was_trained_until_the_catalogue_doubles_or_halves(products: int, kept: bool) -> None:
    chosen = planned(products, base=parent(1000))
    assert chosen.keep_trained is kept
    assert not kept or chosen.dimension == 128


def test_another_encoder_trains_anew() -> None:
    assert not planned(1000, base=parent(1000, fingerprint="other")).keep_trained
