"""Near-duplicates in a store, from embeddings and an index as a reindex builds them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from data import blobs
from data.cache import BlobCache
from data.duplicates import read_groups
from data.embeddings import HASH, Embeddings, position
from data.manifest import CatalogueSection, EncoderSection, IndexSection, Manifest, ShardSection
from data.stores import ObjectStore, open_store
from tasks.duplicates import components, default_threshold, grouped, near_pairs
from tasks.indexing.projection import Projection
from tests.support.snapshots import draft

DIMENSION = 16
SHARDS = 3


def hash_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def build(store: ObjectStore, vectors: NDArray[np.float32], shows: list[int], folder: Path) -> Manifest:
    """Store a snapshot in SHARDS shards: product i shows picture `shows[i]`, whose vector is `vectors[shows[i]]`."""
    import faiss

    from tasks.indexing.building import shard_range, write_shard

    Embeddings(store, "f1").write([hash_of(number) for number in range(len(vectors))], vectors)
    rows = sorted((hash_of(picture), f"p{product}", picture) for product, picture in enumerate(shows))
    sections = []
    for number in range(SHARDS):
        start, stop = shard_range(number, SHARDS)
        mine = [row for row in rows if start <= position(row[0]) < stop]
        index = faiss.IndexFlatIP(DIMENSION)
        index.add(vectors[[picture for _, _, picture in mine]])
        table = pa.table(
            {"id": [product for _, product, _ in mine], "image_hash": pa.array([one for one, _, _ in mine], HASH)}
        )
        files = [blobs.put_file(store, file) for file in write_shard(index, table, folder)]
        sections.append(ShardSection(index=files[0], products=files[1], count=len(mine)))
    projection = Projection(np.eye(DIMENSION, DIMENSION + 1, dtype=np.float32))
    kept = draft(store, [1])
    encoder = EncoderSection(**{**kept.encoder.model_dump(), "dimension": DIMENSION})
    index_section = IndexSection(
        key="Flat",
        dimension=DIMENSION,
        projection=blobs.put_bytes(store, projection.to_bytes()),
        trained_on=len(shows),
        reason="a test",
    )
    catalogue = CatalogueSection(id="c1", uri="file:///shop", products=len(shows))
    made_by = {"created_at": kept.created_at, "code_version": "0", "run": kept.run}
    return Manifest.of(catalogue, encoder, index_section, sections, **made_by)


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.fixture
def catalogue() -> tuple[NDArray[np.float32], list[int], list[set[int]]]:
    """Pictures 0 to 59 far apart, 60 to 79 near 0, 80 and 81 near 1; picture 5 is shown by 300 products."""
    random = np.random.default_rng(3)
    far = random.normal(size=(60, DIMENSION))
    near = [far[0] + 0.05 * random.normal(size=DIMENSION) for _ in range(20)]
    near += [far[1] + 0.05 * random.normal(size=DIMENSION) for _ in range(2)]
    shows = [*range(82), *[5] * 299]
    return unit(np.array([*far, *near])), shows, [{0, *range(60, 80)}, {1, 80, 81}]


def test_planted_groups_are_found_across_shards(
    catalogue: tuple[NDArray[np.float32], list[int], list[set[int]]], tmp_path: Path
) -> None:
    vectors, shows, planted = catalogue
    store = open_store(str(tmp_path / "store"))
    manifest = build(store, vectors, shows, tmp_path)
    uri = str(tmp_path / "store")
    pairs = [near_pairs(uri, manifest, numbers, 0.95, threads=1) for numbers in ([0, 2], [1], [])]
    found = grouped(uri, manifest, pairs, 0.95)
    assert found.section is not None
    table = read_groups(BlobCache(tmp_path / "cache").get(store, found.section.groups))
    numbers = {hash_of(number): number for number in range(len(vectors))}
    groups: dict[int, set[int]] = {}
    for row in table.to_pylist():
        groups.setdefault(row["group"], set()).add(numbers[row["image_hash"]])
    assert [groups[group] for group in sorted(groups)] == planted
    section = found.section
    assert (section.count, section.largest, section.pictures, section.products) == (2, 21, 24, 24)
    assert found.exact == 300
    assert found.figures() == {"exact_duplicates": 300, "near_duplicate_groups": 2, "near_duplicates": 24}
    assert [len(ids) for ids in found.examples] == [6, 3]
    assert set(found.examples[1]) == {"p1", "p80", "p81"}


def test_products_of_one_picture_are_counted_and_do_not_crowd_out_its_neighbours(
    catalogue: tuple[NDArray[np.float32], list[int], list[set[int]]], tmp_path: Path
) -> None:
    vectors, _, _ = catalogue
    store = open_store(str(tmp_path / "store"))
    manifest = build(store, vectors, [*range(82), *[1] * 50], tmp_path)
    uri = str(tmp_path / "store")
    found = grouped(uri, manifest, [near_pairs(uri, manifest, range(3), 0.95, threads=1)], 0.95)
    assert found.section is not None
    assert (found.section.pictures, found.section.products, found.exact) == (24, 74, 51)


def test_nothing_alike_makes_no_groups(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    vectors = unit(np.random.default_rng(0).normal(size=(30, DIMENSION)))
    manifest = build(store, vectors, list(range(30)), tmp_path)
    uri = str(tmp_path / "store")
    found = grouped(uri, manifest, [near_pairs(uri, manifest, range(3), 0.99, threads=1)], 0.99)
    assert (found.section, found.exact, found.examples) == (None, 0, [])
    assert found.figures() == {"exact_duplicates": 0, "near_duplicate_groups": 0, "near_duplicates": 0}


@pytest.mark.parametrize("seed", range(30))
def test_components_are_what_hangs_together(seed: int) -> None:
    random = Random(seed)
    pairs = [(random.randrange(40), random.randrange(40)) for _ in range(random.randrange(1, 40))]
    rows, leaders = components(np.array(pairs))
    expected = {row: {row} for pair in pairs for row in pair}
    for one, other in pairs:
        joined = expected[one] | expected[other]
        for row in joined:
            expected[row] = joined
    assert dict(zip(rows.tolist(), leaders.tolist(), strict=True)) == {
        row: min(group) for row, group in expected.items()
    }


def test_a_long_chain_is_one_group() -> None:
    order = np.random.default_rng(0).permutation(20_000)
    _, leaders = components(np.stack([order[:-1], order[1:]], axis=1))
    assert set(leaders.tolist()) == {0}


def test_smaller_spaces_take_higher_scores() -> None:
    assert [default_threshold(dimension) for dimension in (32, 64, 100, 128, 256, 512)] == [
        *(0.96, 0.94, 0.90, 0.90, 0.80, 0.80)
    ]
