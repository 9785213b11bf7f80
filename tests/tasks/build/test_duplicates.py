"""Near-duplicates in a store, from embeddings and an index as a reindex builds them."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from lookalike.data.embeddings import HASH, Embeddings, position
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.snapshots.duplicates import read_groups
from lookalike.data.snapshots.manifest import (
    CatalogueSection,
    EncoderSection,
    IndexSection,
    Manifest,
    ProjectionSection,
    ShardSection,
    SpaceSection,
)
from lookalike.data.stores import ObjectStore, open_store
from lookalike.data.stores.memory import MemoryStore
from lookalike.tasks.build import duplicates
from lookalike.tasks.build.duplicates import (
    DuplicateGroups,
    choose_threshold,
    find_components,
    find_near_pairs,
    group_duplicates,
    inherit_pairs,
    is_inheritable,
)
from lookalike.tasks.search.projection import Projection
from tests.support.snapshots import draft, with_image_space

DIMENSION = 16
SHARDS = 3


def hash_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def build(store: ObjectStore, vectors: NDArray[np.float32], shows: list[int], folder: Path) -> Manifest:
    """Store a snapshot in SHARDS shards: product i shows picture `shows[i]`, whose vector is `vectors[shows[i]]`."""
    import faiss

    from lookalike.tasks.build.shard import shard_range, write_shard

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
        sections.append(ShardSection.of(index=files[0], products=files[1], count=len(mine)))
    projection = Projection(np.eye(DIMENSION, DIMENSION + 1, dtype=np.float32))
    kept = draft(store, [1])
    encoder = EncoderSection(**{**kept.encoder.model_dump(), "dimension": DIMENSION})
    index_section = IndexSection(
        key="Flat",
        dimension=DIMENSION,
        trained_on=len(shows),
        reason="a test",
    )
    catalogue = CatalogueSection(id="c1", uri="file:///shop", products=len(shows))
    matrix = blobs.put_bytes(store, projection.to_bytes())
    parts = (catalogue, SpaceSection.of(encoder, matrix, index_section), sections)
    return Manifest.of(*parts, created_at=kept.created_at, code_version="0", run=kept.run)


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


@pytest.mark.parametrize("at_once", [1, 7, 8192])
def test_planted_groups_are_found_across_shards(
    at_once: int,
    catalogue: tuple[NDArray[np.float32], list[int], list[set[int]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duplicates, "PICTURES_AT_ONCE", at_once)
    vectors, shows, planted = catalogue
    store = open_store(str(tmp_path / "store"))
    manifest = build(store, vectors, shows, tmp_path)
    uri = str(tmp_path / "store")
    pairs = [find_near_pairs(uri, manifest, numbers, 0.95, threads=1) for numbers in ([0, 2], [1], [])]
    found = group_duplicates(uri, manifest, pairs, 0.95)
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
    found = group_duplicates(uri, manifest, [find_near_pairs(uri, manifest, range(3), 0.95, threads=1)], 0.95)
    assert found.section is not None
    assert (found.section.pictures, found.section.products, found.exact) == (24, 74, 51)


def groups_of(store: ObjectStore, found: DuplicateGroups, tmp_path: Path) -> set[frozenset[bytes]]:
    if found.section is None:
        return set()
    table = read_groups(BlobCache(tmp_path / "cache").get(store, found.section.groups))
    groups: dict[int, set[bytes]] = {}
    for row in table.to_pylist():
        groups.setdefault(row["group"], set()).add(row["image_hash"])
    return {frozenset(group) for group in groups.values()}


@pytest.mark.parametrize("seed", range(4))
def test_groups_that_are_inherited_are_those_of_looking_anew(seed: int, tmp_path: Path) -> None:
    """Pictures leave, among them some by which others hang together, and come, some between two groups."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(12, DIMENSION))
    vectors = unit(centres[random.integers(0, 12, 120)] + 0.28 * random.normal(size=(120, DIMENSION)))
    store, uri = open_store(str(tmp_path / "store")), str(tmp_path / "store")
    order = random.permutation(120)
    before, after = order[6:], order[:-3]
    parent = build(store, vectors, [int(picture) for picture in before], tmp_path)
    looked = group_duplicates(uri, parent, [find_near_pairs(uri, parent, range(SHARDS), 0.9, threads=1)], 0.9)
    parent = parent.model_copy(update={"duplicates": looked.section})
    child = build(store, vectors, [int(picture) for picture in after], tmp_path)
    assert is_inheritable(parent, child, 0.9)

    inherited = inherit_pairs(uri, child, parent)
    assert inherited.asked is not None
    asked = np.load(io.BytesIO(blobs.read(store, inherited.asked)))
    assert len(set(after) - set(before)) <= len(asked) < len(after)
    found = find_near_pairs(uri, child, range(SHARDS), 0.9, threads=1, asked=inherited.asked)
    anew = find_near_pairs(uri, child, range(SHARDS), 0.9, threads=1)

    some, all_ = (group_duplicates(uri, child, pairs, 0.9) for pairs in ([inherited.pairs, found], [anew]))
    assert groups_of(store, some, tmp_path) == groups_of(store, all_, tmp_path) != set()
    assert some.figures() == all_.figures()


def test_a_group_that_hung_together_by_a_picture_that_left(tmp_path: Path) -> None:
    chain = np.eye(4, DIMENSION)
    chain[:3, :2] = np.array([[1, 0], [0.94, 0.34], [0.77, 0.64]])
    chain[2, 2] = 0
    store, uri, vectors = open_store(str(tmp_path / "store")), str(tmp_path / "store"), unit(chain)
    parent = build(store, vectors, [0, 1, 2, 3], tmp_path)
    looked = group_duplicates(uri, parent, [find_near_pairs(uri, parent, range(SHARDS), 0.9, threads=1)], 0.9)
    assert looked.section is not None
    assert looked.section.pictures == 3
    parent = parent.model_copy(update={"duplicates": looked.section})

    same = inherit_pairs(uri, parent, parent)
    assert same.asked is None
    assert group_duplicates(uri, parent, [same.pairs], 0.9).section == looked.section

    child = build(store, vectors, [0, 2, 3], tmp_path)
    inherited = inherit_pairs(uri, child, parent)
    assert inherited.asked is not None
    found = find_near_pairs(uri, child, range(SHARDS), 0.9, threads=1, asked=inherited.asked)
    assert group_duplicates(uri, child, [inherited.pairs, found], 0.9).section is None


def test_what_makes_groups_hold_no_longer(tmp_path: Path) -> None:
    store, uri = open_store(str(tmp_path / "store")), str(tmp_path / "store")
    vectors = np.random.default_rng(0).normal(size=(30, DIMENSION))
    vectors[1] = vectors[0] + 0.01
    manifest = build(store, unit(vectors), list(range(30)), tmp_path)
    found = group_duplicates(uri, manifest, [find_near_pairs(uri, manifest, range(SHARDS), 0.9, threads=1)], 0.9)
    parent = manifest.model_copy(update={"duplicates": found.section})
    assert is_inheritable(parent, manifest, 0.9)
    assert not is_inheritable(None, manifest, 0.9)
    assert not is_inheritable(manifest, manifest, 0.9)  # nobody looked, or nothing was found
    assert not is_inheritable(parent, manifest, 0.8)
    encoder = manifest.encoder.model_copy(update={"fingerprint": "another"})
    assert not is_inheritable(parent, with_image_space(manifest, encoder=encoder), 0.9)
    projection = ProjectionSection(matrix=blobs.put_bytes(store, b"trained again"))
    assert not is_inheritable(parent, with_image_space(manifest, projection=projection), 0.9)


def test_nothing_alike_makes_no_groups(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    vectors = unit(np.random.default_rng(0).normal(size=(30, DIMENSION)))
    manifest = build(store, vectors, list(range(30)), tmp_path)
    uri = str(tmp_path / "store")
    found = group_duplicates(uri, manifest, [find_near_pairs(uri, manifest, range(3), 0.99, threads=1)], 0.99)
    assert (found.section, found.exact, found.examples) == (None, 0, [])
    assert found.figures() == {"exact_duplicates": 0, "near_duplicate_groups": 0, "near_duplicates": 0}


@pytest.mark.parametrize("seed", range(30))
def test_components_are_what_hangs_together(seed: int) -> None:
    random = Random(seed)
    pairs = [(random.randrange(40), random.randrange(40)) for _ in range(random.randrange(1, 40))]
    rows, leaders = find_components(np.array(pairs))
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
    _, leaders = find_components(np.stack([order[:-1], order[1:]], axis=1))
    assert set(leaders.tolist()) == {0}


@pytest.mark.parametrize(
    ("kind", "scores"),
    [
        ("whitening", (0.96, 0.94, 0.90, 0.90, 0.80, 0.80)),
        ("distortions", (0.97, 0.95, 0.92, 0.92, 0.87, 0.87)),
        ("of-a-later-release", (0.97, 0.95, 0.92, 0.92, 0.87, 0.87)),
    ],
)
def test_smaller_spaces_take_higher_scores(kind: str, scores: tuple[float, ...]) -> None:
    kept = draft(MemoryStore(), [1])

    def threshold(dimension: int) -> float:
        index = kept.index.model_copy(update={"dimension": dimension, "trained_on": 1000})
        return choose_threshold(SpaceSection.of(kept.encoder, kept.shards[0].index, index, kind=kind))

    assert tuple(threshold(dimension) for dimension in (32, 64, 100, 128, 256, 512)) == scores


@pytest.mark.parametrize(
    ("kind", "trained_on", "score"), [("distortions", 128, 0.80), ("distortions", 129, 0.92), ("whitening", 128, 0.90)]
)
def test_copies_are_further_away_where_every_difference_is_kept(kind: str, trained_on: int, score: float) -> None:
    kept = draft(MemoryStore(), [1])
    index = kept.index.model_copy(update={"dimension": 128, "trained_on": trained_on})
    assert choose_threshold(SpaceSection.of(kept.encoder, kept.shards[0].index, index, kind=kind)) == score
