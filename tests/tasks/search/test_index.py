"""Search across shards agrees with exact search over everything."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.tasks.build.evaluate import Examination, compute_recall
from lookalike.tasks.build.shard import build_index
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.neighbours import SearchParameters
from lookalike.tasks.search.projection import normalise
from tests.tasks.search.shards import (
    DIMENSION,
    KEYS,
    LISTS,
    built,
    exact,
    overlap,
    plan_for,
    sharded,
)


def test_flat_shards_answer_as_one_exact_index(vectors: NDArray[np.float32]) -> None:
    queries = vectors[::100]
    found = sharded(vectors, "Flat").search(queries, 10)
    wanted = exact(normalise(vectors.astype(np.float16).astype(np.float32)), queries, 10)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-3)
    assert compute_recall(found, wanted) == 1.0
    assert (found.rows[:, 0] == np.arange(0, 3000, 100)).all()


def test_tuning_visits_as_many_lists_as_the_recall_needs(vectors: NDArray[np.float32]) -> None:
    index = sharded(vectors, "IVF16,SQ8")
    queries = vectors[::50]
    reached = Examination(queries, exact(vectors, queries, 20)).tune(index, 0.95)
    assert reached >= 0.95
    assert 1 <= (index.nprobe or 0) < 16


@pytest.mark.parametrize("key", KEYS)
def test_tuning_reaches_the_recall_with_any_kind_of_index(vectors: NDArray[np.float32], key: str) -> None:
    index, queries = sharded(vectors, key), vectors[::50]
    examination = Examination(queries, exact(vectors, queries, 20))
    reached = examination.tune(index, 0.95)
    assert reached >= 0.95
    assert examination.recall(index) == reached
    assert (index.is_graph, index.is_compressed) == (key.startswith("HNSW"), "Refine" in key)


def test_effort_is_no_more_than_the_recall_needs(vectors: NDArray[np.float32]) -> None:
    index, queries = sharded(vectors, "IVF16,SQ8"), vectors[::50]
    examination = Examination(queries, exact(vectors, queries, 20))
    examination.tune(index, 0.995)
    index.nprobe = (index.nprobe or 1) - 1
    assert examination.recall(index) < 0.995


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.01, 0.001])
def test_filtered_search_finds_the_nearest_of_those_that_match(
    vectors: NDArray[np.float32], key: str, share: float
) -> None:
    index = sharded(vectors, key)
    index.parameters = SearchParameters(nprobe=8, ef_search=64, k_factor=10)
    allowed = np.random.default_rng(1).random(3000) < share
    allowed[5] = True
    queries = vectors[::150]
    assert overlap(index.search(queries, 10, allowed=allowed), vectors, queries, allowed) >= 0.95
    assert overlap(index.search_exact(queries, 10, allowed=allowed), vectors, queries, allowed) >= 0.95


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("k", [1, 10, 500, 2999, 4000])
def test_returns_exactly_k_best_first_each_row_once(vectors: NDArray[np.float32], key: str, k: int) -> None:
    index = sharded(vectors, key)
    index.parameters = SearchParameters(nprobe=1, ef_search=16, k_factor=10)
    found = index.search(vectors[:3], k)
    assert found.rows.shape == (3, min(k, 3000))
    for scores, rows in zip(found.scores, found.rows, strict=True):
        assert len(set(rows.tolist())) == min(k, 3000)
        assert rows.min() >= 0
        assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("key", KEYS)
def test_scores_are_those_of_the_vectors_that_are_held(vectors: NDArray[np.float32], key: str) -> None:
    """Candidates of short codes are ranked again: what is returned is good to a hundredth, and the same for any k."""
    index = sharded(vectors, key)
    index.parameters = SearchParameters(nprobe=16, ef_search=256, k_factor=10)
    index.warm_up()
    found = index.search(vectors[:5], 10)
    held = np.stack([index.reconstruct(int(row)) for row in found.rows.ravel()]).reshape(5, 10, DIMENSION)
    np.testing.assert_allclose(found.scores, np.einsum("nd,nkd->nk", vectors[:5], held), atol=1e-4)
    np.testing.assert_allclose(found.scores, np.einsum("nd,nkd->nk", vectors[:5], vectors[found.rows]), atol=0.02)


@pytest.mark.parametrize("key", KEYS)
def test_what_is_dead_is_never_found(vectors: NDArray[np.float32], key: str) -> None:
    alive = np.ones(3000, bool)
    alive[::10] = False
    index = ShardedIndex(built(vectors, key), nprobe=16, ef_search=64, k_factor=10, alive=alive)
    queries = vectors[::150]
    assert overlap(index.search(queries, 10), vectors, queries, alive) >= 0.95
    assert overlap(index.search_exact(queries, 10), vectors, queries, alive) >= 0.95


@pytest.mark.parametrize("key", KEYS)
def test_a_delta_is_searched_beside_any_kind_of_index(vectors: NDArray[np.float32], key: str) -> None:
    delta = faiss.IndexFlatIP(DIMENSION)
    delta.add(vectors[2990:])
    index = ShardedIndex([*built(vectors[:2990], key), delta], nprobe=16, ef_search=64, k_factor=10)
    index.warm_up()
    found = index.search(vectors, 1)
    assert (found.rows[:, 0] == np.arange(3000)).mean() >= 0.99
    assert (found.rows[2990:, 0] == np.arange(2990, 3000)).all()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
def test_what_is_kept_of_a_mask_changes_no_answer(vectors: NDArray[np.float32], key: str, share: float) -> None:
    index = sharded(vectors, key)
    index.parameters = SearchParameters(nprobe=4, ef_search=32, k_factor=10)
    masks = [np.random.default_rng(seed).random(3000) < share for seed in range(4)]
    wanted = [index.search(vectors[:5], 10, allowed=mask) for mask in masks]
    reused = np.empty(3000, bool)  # a mask that may be written to is looked at each time
    for mask, found in zip(masks, wanted, strict=True):
        reused[:] = mask
        np.testing.assert_array_equal(index.search(vectors[:5], 10, allowed=reused).rows, found.rows)
        mask.flags.writeable = False
    for mask, found in [*zip(masks, wanted, strict=True)] * 3:
        again = index.search(vectors[:5], 10, allowed=mask)
        np.testing.assert_array_equal(again.rows, found.rows)
        np.testing.assert_array_equal(again.scores, found.scores)


@pytest.mark.parametrize("key", ["IVF16,PQ8x4fs,Refine(SQ8)", "HNSW16,SQ8"])
def test_searches_at_once_answer_as_one_after_the_other(vectors: NDArray[np.float32], key: str) -> None:
    index = sharded(vectors, key)
    index.parameters = SearchParameters(nprobe=4, ef_search=32, k_factor=10)
    masks = [np.random.default_rng(seed).random(3000) < 0.4 for seed in range(8)]
    alone = [index.search(vectors[:20], 10, allowed=mask).rows for mask in masks]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda mask: index.search(vectors[:20], 10, allowed=mask).rows, masks * 4))
    for rows, wanted in zip(together, alone * 4, strict=True):
        np.testing.assert_array_equal(rows, wanted)


def test_searches_at_once_start_no_threads_of_their_own(vectors: NDArray[np.float32]) -> None:
    """With a thread for each search, more searches than cores would only get in each other's way."""
    index = sharded(vectors, "IVF16,RaBitQfs,Refine(SQ8)")
    index.parameters = SearchParameters(nprobe=8, k_factor=10)
    with ThreadPoolExecutor(3) as pool:
        every = Barrier(3)  # a pool starts no thread while one is idle
        list(pool.map(lambda _: (every.wait(10), index.search(vectors[:100], 10)), range(3)))
        before = len(list(Path("/proc/self/task").iterdir()))
        list(pool.map(lambda _: index.search(vectors[:100], 10), range(30)))
        assert len(list(Path("/proc/self/task").iterdir())) == before


def test_returns_what_there_is_when_k_is_larger(vectors: NDArray[np.float32]) -> None:
    index = sharded(vectors[:5], "Flat", cuts=(2, 3))
    found = index.search(vectors[:1], 50)
    assert sorted(found.rows[0].tolist()) == [0, 1, 2, 3, 4]


def test_no_row_allowed_finds_nothing(vectors: NDArray[np.float32]) -> None:
    found = sharded(vectors, "Flat").search(vectors[:2], 3, allowed=np.zeros(3000, bool))
    assert (found.rows == -1).all()


@pytest.mark.parametrize("key", KEYS)
def test_gives_back_a_row_s_vector(vectors: NDArray[np.float32], key: str) -> None:
    index = sharded(vectors, key)
    index.warm_up()
    for row in (0, 999, 1000, 1001, 2999):
        assert float(index.reconstruct(row) @ vectors[row]) > 0.99
    some = np.random.default_rng(1).permutation(3000)[:700]
    np.testing.assert_array_equal(index.reconstruct_rows(some), np.stack([index.reconstruct(row) for row in some]))
    np.testing.assert_array_equal(index.reconstruct_rows(some[:1])[0], index.reconstruct(int(some[0])))


class TestOpening:
    """A file is trusted only as far as the manifest says what it is."""

    @pytest.fixture
    def file(self, tmp_path: Path, vectors: NDArray[np.float32]) -> Path:
        index = build_index([vectors[:100].astype(np.float16)], 100, plan_for("Flat"), None, None, threads=1)
        faiss.write_index(index, str(tmp_path / "index.faiss"))
        return tmp_path / "index.faiss"

    def test_maps_a_good_file(self, file: Path, vectors: NDArray[np.float32]) -> None:
        index = ShardedIndex.open([file, file], [100, 100], DIMENSION, nprobe=None)
        assert index.size == 200
        assert sorted(index.search(vectors[:1], 2).rows[0].tolist()) == [0, 100]

    @pytest.mark.parametrize("key", KEYS)
    def test_every_kind_is_mapped_and_answers_as_in_memory(
        self, key: str, tmp_path: Path, vectors: NDArray[np.float32]
    ) -> None:
        shards = built(vectors, key)
        files = [tmp_path / f"{number}.faiss" for number in range(len(shards))]
        for shard, file in zip(shards, files, strict=True):
            faiss.write_index(shard, str(file))
        counts = [shard.ntotal for shard in shards]
        opened = ShardedIndex.open(files, counts, DIMENSION, nprobe=4, ef_search=32, k_factor=10)
        opened.warm_up()
        in_memory = ShardedIndex(shards, nprobe=4, ef_search=32, k_factor=10)
        allowed = np.arange(3000) % 3 == 0
        for mask in (None, allowed):
            found, wanted = (index.search(vectors[::100], 10, allowed=mask) for index in (opened, in_memory))
            np.testing.assert_array_equal(found.rows, wanted.rows)

    @pytest.mark.parametrize("key", LISTS)
    def test_lists_that_stay_on_disk_answer_as_those_in_memory(
        self, key: str, tmp_path: Path, vectors: NDArray[np.float32]
    ) -> None:
        files = [tmp_path / f"{number}.faiss" for number in range(3)]
        shards = built(vectors, key)
        for shard, file in zip(shards, files, strict=True):
            faiss.write_index(shard, str(file))
        counts = [shard.ntotal for shard in shards]
        for _ in range(3):  # a server opens one after another, and frees the coarse quantisers of all shards but one
            on_disk, held = (ShardedIndex.open(files, counts, DIMENSION, nprobe=4, k_factor=10) for _ in range(2))
            on_disk.warm_up(on_disk=True)
            held.warm_up()
            for mask in (None, np.arange(3000) % 3 == 0):
                found, wanted = (index.search(vectors[::100], 10, allowed=mask) for index in (on_disk, held))
                np.testing.assert_array_equal(found.rows, wanted.rows)
            for row in (0, 999, 1000, 2999):
                np.testing.assert_array_equal(on_disk.reconstruct(row), held.reconstruct(row))

    @pytest.mark.parametrize("key", KEYS)
    def test_what_another_index_has_open_is_shared(
        self, key: str, tmp_path: Path, vectors: NDArray[np.float32]
    ) -> None:
        shards = built(vectors, key)
        flat = built(vectors, "Flat")[1]
        files = [tmp_path / f"{number}.faiss" for number in range(4)]
        for shard, file in zip([*shards, flat], files, strict=True):
            faiss.write_index(shard, str(file))
        counts = [*(shard.ntotal for shard in shards), flat.ntotal]
        open_index = partial(ShardedIndex.open, dimension=DIMENSION, nprobe=4, ef_search=32, k_factor=10)
        previous = open_index(files[:3], counts[:3])
        previous.warm_up()
        for chosen in ([0, 1, 2, 3], [0, 1, 2], [0, 1], [1, 0, 2], [3, 0, 1, 2]):
            some, many = [files[one] for one in chosen], [counts[one] for one in chosen]
            opened, alone = (open_index(some, many, previous=one) for one in (previous, None))
            opened.warm_up()
            found, wanted = (index.search(vectors[::100], 10) for index in (opened, alone))
            np.testing.assert_array_equal(found.rows, wanted.rows)
            assert (opened.size, opened.dimension, opened.lists) == (alone.size, alone.dimension, alone.lists)
            shares = opened._groups[0] is previous._groups[0]
            assert shares is (key in LISTS and chosen in ([0, 1, 2, 3], [0, 1, 2]))
        del previous
        gc.collect()  # what is shared lives as long as anybody has it
        again = open_index(files, counts, previous=opened)
        assert again.search(vectors[:1], 1).rows[0, 0] == 0

    @pytest.mark.parametrize(("count", "dimension"), [(99, DIMENSION), (100, 64)])
    def test_refuses_what_the_manifest_does_not_say(self, file: Path, count: int, dimension: int) -> None:
        with pytest.raises(CorruptError, match="the manifest promises"):
            ShardedIndex.open([file], [count], dimension, nprobe=None)

    @pytest.mark.parametrize("data", [b"", b"nonsense" * 100])
    def test_refuses_what_is_no_index(self, file: Path, data: bytes) -> None:
        file.write_bytes(data)
        with pytest.raises(CorruptError, match="cannot be read"):
            ShardedIndex.open([file], [100], DIMENSION, nprobe=None)

    def test_refuses_a_length_that_the_file_cannot_hold(self, file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[8:16] = (2**40).to_bytes(8, "little")  # ntotal
        file.write_bytes(bytes(data))
        with pytest.raises(CorruptError):
            ShardedIndex.open([file], [100], DIMENSION, nprobe=None)
