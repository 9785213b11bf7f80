"""What workers do for an index, on a real store: measuring, training, building and evaluating, all in small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from lookalike.data.catalogue.normalised import LocalCatalogue
from lookalike.data.embeddings import HASH, Embeddings
from lookalike.data.errors import CorruptError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob, BlobCache
from lookalike.data.snapshots.manifest import EncoderSection, IndexSection, SpaceSection
from lookalike.data.stores import open_store
from lookalike.tasks.build import jobs as building
from lookalike.tasks.build import measure as measuring
from lookalike.tasks.build import pictures as reading
from lookalike.tasks.build.evaluate import compute_recall
from lookalike.tasks.build.jobs import Measurement, SampleQueries, Shard, Source, TrainedParts, merge_exact_answers
from lookalike.tasks.build.planner import KINDS, OperatingPoints, Plan
from lookalike.tasks.build.shard import ExactAnswers
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.neighbours import RECALL_AT, Neighbours
from lookalike.tasks.search.projection import normalise

pytestmark = pytest.mark.slow

Vectors = NDArray[np.float32]

COUNT = 4000
DIMENSION = 24
BLOB = Blob(sha256="0" * 64, size=1)
ENCODER = EncoderSection(name="e", fingerprint="f", dimension=DIMENSION, spec=BLOB, model=BLOB)
KEYS = ["Flat", "IVF32,SQ8", "IVF32,RaBitQfs,Refine(SQ8)", "HNSW16,SQ8"]


def clustered(count: int, seed: int) -> Vectors:
    centres = np.random.default_rng(0).normal(size=(150, DIMENSION))
    random = np.random.default_rng(seed)
    return (centres[random.integers(0, 150, count)] + 0.5 * random.normal(size=(count, DIMENSION))).astype(np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A catalogue and its embeddings in a folder."""
    folder = tmp_path_factory.mktemp("shards")
    store = open_store(str(folder / "store"))
    hashes = [np.random.default_rng(number).bytes(32) for number in range(COUNT)]
    for start in range(0, COUNT, 1000):
        Embeddings(store, ENCODER.fingerprint).write(hashes[start : start + 1000], clustered(1000, seed=start + 1))
    columns = {name: [f"{name} {number}" for number in range(COUNT)] for name in ("id", "title", "image")}
    products = pa.table({**columns, "image_version": ["1"] * COUNT, "image_hash": pa.array(hashes, HASH)})
    (folder / "catalogue").mkdir()
    catalogue = LocalCatalogue(folder / "catalogue", [products])
    catalogue.store(store)
    plan = Plan(COUNT, COUNT, "Flat", DIMENSION, project=False, shards=3, keep_trained=False, reason="")
    return Source(str(folder / "store"), catalogue.id, ENCODER, plan)


def with_key(source: Source, key: str) -> Source:
    return replace(source, plan=replace(source.plan, key=key))


def build(source: Source) -> tuple[SampleQueries, list[Shard], TrainedParts]:
    trained = building.train_index(source, threads=1)
    queries = building.sample_queries(source, trained)
    numbers = range(source.plan.shards)
    shards = [building.build_shard(source, number, queries, trained, threads=1) for number in numbers]
    return queries, [shard for shard in shards if shard], trained


def evaluate(source: Source, queries: SampleQueries, shards: Sequence[Shard]) -> Measurement:
    return building.evaluate_index(source.store, shards, DIMENSION, queries, 0.95, threads=1)


def opened(source: Source, shards: Sequence[Shard], measured: Measurement, folder: Path) -> ShardedIndex:
    cache, store = BlobCache(folder), open_store(source.store)
    files = [cache.get(store, shard.section.index) for shard in shards]
    index = ShardedIndex.open(files, [shard.section.count for shard in shards], DIMENSION, nprobe=None)
    index.parameters = measured.parameters
    return index


def test_the_exact_answers_of_all_shards_are_those_of_one_search(source: Source, tmp_path: Path) -> None:
    queries, shards, _ = build(source)
    merged = merge_exact_answers(shards)
    index = opened(source, shards, evaluate(source, queries, shards), tmp_path)
    others = np.stack([index.reconstruct(row) for row in range(COUNT - len(queries.hashes))])  # the last are held out
    assert len(queries.hashes) == 200
    assert merged.rows.max() < len(others)
    scores = np.sort(queries.vectors @ others.T, axis=1)[:, ::-1][:, : merged.scores.shape[1]]
    np.testing.assert_allclose(merged.scores, scores, atol=1e-5)


@pytest.mark.parametrize("key", KEYS)
def test_a_photo_that_is_in_no_index_finds_what_the_manifest_promises(key: str, source: Source, tmp_path: Path) -> None:
    source = with_key(source, key)
    queries, shards, _ = build(source)
    measured = evaluate(source, queries, shards)
    index = opened(source, shards, measured, tmp_path)
    everything = _all_vectors(source)
    photos = normalise(clustered(2000, seed=99))
    scores = photos @ everything.T
    rows = np.argsort(-scores, axis=1)[:, : 2 * RECALL_AT]
    live = compute_recall(index.search(photos, RECALL_AT), Neighbours(np.take_along_axis(scores, rows, 1), rows))
    assert measured.recall >= 0.95
    assert live == pytest.approx(measured.recall, abs=0.01)


def _all_vectors(source: Source) -> Vectors:
    hashes, vectors = Embeddings(open_store(source.store), ENCODER.fingerprint).read()
    assert (np.argsort(hashes) == np.arange(len(hashes))).all()
    return normalise(vectors.astype(np.float32))


def test_a_shard_that_is_built_again_is_the_same_blob(source: Source) -> None:
    first, second = (build(with_key(source, "IVF32,RaBitQfs,Refine(SQ8)")) for _ in range(2))
    assert [shard.section for shard in first[1]] == [shard.section for shard in second[1]]
    assert first[2] == second[2]


def test_a_damaged_trained_part_is_refused(source: Source) -> None:
    source = with_key(source, "IVF32,SQ8")
    trained = building.train_index(source, threads=1)
    assert trained.index
    other = TrainedParts(None, blobs.Blob(sha256="f" * 64, size=trained.index.size))
    store = open_store(source.store)
    no_vector = np.zeros((1, DIMENSION), np.float32)
    store.create(other.index.key if other.index else "", blobs.read(store, trained.index))
    with pytest.raises(CorruptError, match="is damaged"):
        building.build_shard(source, 0, SampleQueries(no_vector, np.zeros(1, "V32")), other, threads=1)


def test_how_uneven_lists_are_is_measured(source: Source) -> None:
    flat, lists = (with_key(source, key) for key in ("Flat", "IVF32,SQ8"))
    assert evaluate(flat, *build(flat)[:2]).imbalance is None
    assert 1.0 < (evaluate(lists, *build(lists)[:2]).imbalance or 0) < 3.0


def shop_of(folder: Path, hashes: Sequence[bytes], shown: Sequence[int], key: str) -> Source:
    """A catalogue of products, of which each shows one of some pictures."""
    store = open_store(str(folder / "store"))
    Embeddings(store, ENCODER.fingerprint).write(hashes, normalise(clustered(len(hashes), seed=3)))
    columns = {name: [f"{name} {number}" for number in range(len(shown))] for name in ("id", "title", "image")}
    image_hash = pa.array([hashes[number] for number in shown], HASH)
    products = pa.table({**columns, "image_version": ["1"] * len(shown), "image_hash": image_hash})
    (folder / "catalogue").mkdir()
    catalogue = LocalCatalogue(folder / "catalogue", [products])
    catalogue.store(store)
    plan = Plan(len(shown), len(hashes), key, DIMENSION, project=False, shards=3, keep_trained=False, reason="")
    return Source(str(folder / "store"), catalogue.id, ENCODER, plan)


@pytest.mark.parametrize("key", ["IVF4,SQ8", "IVF4,PQ12x4fs,Refine(SQ8)", "IVF4,RaBitQfs,Refine(SQ8)"])
def test_many_products_of_few_pictures(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole ranges of hashes have no product then, at both ends; and more are equally near than can be told apart."""
    monkeypatch.setattr(reading, "READ_AT_A_TIME", 100)
    hashes = [number.to_bytes(1, "big") + bytes(31) for number in range(100, 160)]
    source = shop_of(tmp_path, hashes, [number // 40 for number in range(2400)], key)

    points = building.measure_operating_points(source.store, source.catalogue, 2400, 60, ENCODER, None, 0.9, threads=1)
    queries, shards, _ = build(source)

    assert [point.kind for point in points] == ["Flat", "IVF SQ8", "IVF SQ8 short"]
    assert [bytes(one) for one in queries.hashes] == hashes[-6:]
    np.testing.assert_allclose(queries.vectors, _all_vectors(source)[-6:], atol=1e-6)
    assert evaluate(source, queries, shards).recall == pytest.approx(1.0)


def test_a_picture_that_many_products_show_is_learnt_from_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the one that says that there is none."""
    monkeypatch.setattr(reading, "READ_AT_A_TIME", 1000)
    monkeypatch.setattr(building, "choose_sample_size", lambda _: 800)
    hashes = [bytes(32), *(np.random.default_rng(number).bytes(32) for number in range(900)), b"\xff" * 32]
    shown = [*[0] * 3000, *range(1, 901), *[901] * 3000]
    ordered = sorted(hashes)
    source = shop_of(tmp_path, ordered, shown, "IVF16,SQ8")

    queries, shards, _ = build(source)

    assert [bytes(one) for one in queries.hashes] == ordered[-91:-1]  # without it, the other rows stay as they are
    measured = evaluate(source, queries, shards)
    assert measured.recall >= 0.95
    assert (measured.parameters.nprobe or 0) < 16  # lists tell pictures apart


@pytest.mark.parametrize("key", ["IVF64,SQ8", "IVF64,RaBitQfs,Refine(SQ8)"])
def test_copies_of_what_is_searched_for_are_no_merit(key: str, tmp_path: Path) -> None:
    """A photo that is in no index has none: the manifest promises what it finds."""
    hashes = sorted(np.random.default_rng(number).bytes(32) for number in range(3000))
    source = shop_of(tmp_path, hashes, [number // 12 for number in range(12 * 3000)], key)

    queries, shards, _ = build(source)
    measured = evaluate(source, queries, shards)

    pictures = np.repeat(np.arange(3000, dtype=np.int32), 12)
    everything, photos = _all_vectors(source)[pictures], normalise(clustered(1000, seed=99))
    answers = ExactAnswers(photos, 2 * RECALL_AT)
    answers.add(everything, np.arange(len(everything)))
    found = opened(source, shards, measured, tmp_path / "cache").search(photos, RECALL_AT)
    assert measured.recall >= 0.95
    assert compute_recall(found, answers.neighbours, pictures) == pytest.approx(measured.recall, abs=0.04)


def refreshed(source: Source, added: Sequence[bytes], nprobe: int | None = None) -> Measurement:
    """Build an index, add products that show some pictures as a refresh does, and measure."""
    queries, shards, trained = build(source)
    parameters = evaluate(source, queries, shards).parameters
    index = IndexSection(
        key=source.plan.key,
        dimension=DIMENSION,
        trained=trained.index,
        trained_on=source.plan.products,
        nprobe=nprobe or parameters.nprobe,
        k_factor=parameters.k_factor,
        reason="",
    )
    ids = [f"new {number}" for number in range(len(added))]
    columns = dict.fromkeys(("id", "title", "image", "image_version"), ids)
    products = pa.table({**columns, "image_hash": pa.array(added, HASH)})
    delta = building.build_delta(source.store, SpaceSection.of(ENCODER, None, index), products, words=True)
    return building.measure_refresh(source.store, [*(shard.section for shard in shards), delta], index)


@pytest.mark.parametrize("key", ["IVF4,SQ8", "IVF4,RaBitQfs,Refine(SQ8)"])
def test_a_delta_of_many_products_of_one_picture(key: str, tmp_path: Path) -> None:
    """What is returned of so many that are equally near is no error."""
    hashes = sorted(np.random.default_rng(number).bytes(32) for number in range(64))
    source = shop_of(tmp_path, hashes, [*range(64), *[7] * 100], key)
    assert refreshed(source, [hashes[7]] * 80).recall == pytest.approx(1.0)


def test_a_delta_s_copies_of_what_is_there_are_no_merit(tmp_path: Path) -> None:
    hashes = sorted(np.random.default_rng(number).bytes(32) for number in range(2000))
    shown = sorted([*range(1950), *list(range(0, 1950, 40)) * 12])
    source = shop_of(tmp_path, hashes, shown, "IVF8,SQ8")
    new, known = hashes[1950:], hashes[:1950:40]
    only_new, both, only_known = (refreshed(source, added, nprobe=1).recall for added in (new, new + known, known))
    assert only_new < 0.85
    assert both < 0.85
    assert only_known > 0.9  # there are no others to ask for


class TestOperatingPoints:
    """They are measured once for a catalogue, whoever asks and however often a run is killed."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(measuring, "SAMPLE", 1500)
        monkeypatch.setattr(measuring, "QUERIES", 100)

    def measure(self, source: Source, target: float = 0.9) -> Sequence[object]:
        return building.measure_operating_points(
            source.store, source.catalogue, COUNT, COUNT, ENCODER, None, target, threads=1
        )

    def test_every_quick_kind_is_measured_and_stored(self, source: Source) -> None:
        points = self.measure(source)
        (stored,) = open_store(source.store).list(building.OPERATING_POINTS)
        kept = OperatingPoints.model_validate_json(open_store(source.store).read(stored.key)).points
        assert list(kept) == list(points)
        assert [point.kind for point in kept] == list(KINDS[:-1])
        assert all(point.recall >= 0.9 for point in kept)
        assert kept[0].bytes_per_vector == pytest.approx(4 * DIMENSION)
        assert kept[1].bytes_per_vector < kept[4].bytes_per_vector < kept[0].bytes_per_vector

    def test_what_was_measured_is_taken_from_the_store(self, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        before = self.measure(source)
        monkeypatch.setattr(measuring, "measure", lambda *_, **__: pytest.fail("measured again"))
        assert self.measure(source) == before
        with pytest.raises(pytest.fail.Exception):
            self.measure(source, target=0.8)
