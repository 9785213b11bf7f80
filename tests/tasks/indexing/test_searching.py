"""Search across shards agrees with exact search over everything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from data.errors import CorruptError
from tasks.indexing.building import Neighbours, build_index
from tasks.indexing.evaluating import recall, tune
from tasks.indexing.planning import Plan
from tasks.indexing.projection import normalise
from tasks.indexing.searching import ShardedIndex, merge
from tasks.indexing.training import train

DIMENSION = 32


def plan_for(key: str) -> Plan:
    return Plan(3000, key, DIMENSION, project=False, shards=3, keep_trained=False, reason="")


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(40, DIMENSION))
    return normalise((centres[rng.integers(0, 40, 3000)] + 0.4 * rng.normal(size=(3000, DIMENSION))).astype(np.float32))


def sharded(vectors: NDArray[np.float32], key: str, cuts: Sequence[int] = (1000, 1001)) -> ShardedIndex:
    plan = plan_for(key)
    _, trained = train(vectors.astype(np.float16), plan, threads=1)
    parts = np.split(vectors.astype(np.float16), cuts)
    return ShardedIndex([build_index([part], len(part), plan, None, trained, threads=1)[0] for part in parts])


def exact(vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int) -> Neighbours:
    scores, rows = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    return Neighbours(scores, rows)


def test_flat_shards_answer_as_one_exact_index(vectors: NDArray[np.float32]) -> None:
    queries = vectors[::100]
    found = sharded(vectors, "Flat").search(queries, 10)
    wanted = exact(normalise(vectors.astype(np.float16).astype(np.float32)), queries, 10)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-3)
    assert recall(found, wanted) == 1.0
    assert (found.rows[:, 0] == np.arange(0, 3000, 100)).all()


def test_tuning_visits_as_many_lists_as_the_recall_needs(vectors: NDArray[np.float32]) -> None:
    index = sharded(vectors, "IVF16,SQ8")
    queries = vectors[::50]
    reached = tune(index, queries, exact(vectors, queries, 20), 0.95)
    assert reached >= 0.95
    assert 1 <= (index.nprobe or 0) < 16


@pytest.mark.parametrize("key", ["Flat", "IVF16,SQ8"])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_filtered_search_finds_the_nearest_of_those_that_match(
    vectors: NDArray[np.float32], key: str, share: float
) -> None:
    index = sharded(vectors, key)
    index.nprobe = 8
    allowed = np.random.default_rng(1).random(3000) < share
    allowed[5] = True
    queries = vectors[::150]
    found = index.search(queries, 10, allowed=allowed)
    rows = allowed.nonzero()[0]
    wanted = exact(vectors[rows], queries, min(10, len(rows)))
    assert allowed[found.rows[found.rows >= 0]].all()
    overlap = [
        len(set(found.rows[i].tolist()) & set(rows[wanted.rows[i]].tolist())) / wanted.rows.shape[1]
        for i in range(len(queries))
    ]
    assert np.mean(overlap) >= 0.95


def test_returns_what_there_is_when_k_is_larger(vectors: NDArray[np.float32]) -> None:
    index = sharded(vectors[:5], "Flat", cuts=(2, 3))
    found = index.search(vectors[:1], 50)
    assert sorted(found.rows[0].tolist()) == [0, 1, 2, 3, 4]


def test_no_row_allowed_finds_nothing(vectors: NDArray[np.float32]) -> None:
    found = sharded(vectors, "Flat").search(vectors[:2], 3, allowed=np.zeros(3000, bool))
    assert (found.rows == -1).all()


@pytest.mark.parametrize("key", ["Flat", "IVF16,SQ8"])
def test_gives_back_a_row_s_vector(vectors: NDArray[np.float32], key: str) -> None:
    index = sharded(vectors, key)
    index.warm_up()
    for row in (0, 999, 1000, 1001, 2999):
        assert float(index.vector(row) @ vectors[row]) > 0.99


def test_equal_scores_come_in_the_order_of_rows() -> None:
    one = Neighbours(np.array([[0.5, 0.1]], np.float32), np.array([[7, 9]]))
    other = Neighbours(np.array([[0.5, -1.0]], np.float32), np.array([[3, -1]]))
    best = merge([one, other], 3)
    assert best.rows.tolist() == [[3, 7, 9]]


class TestOpening:
    """A file is trusted only as far as the manifest says what it is."""

    @pytest.fixture
    def file(self, tmp_path: Path, vectors: NDArray[np.float32]) -> Path:
        index, _ = build_index([vectors[:100].astype(np.float16)], 100, plan_for("Flat"), None, None, threads=1)
        faiss.write_index(index, str(tmp_path / "index.faiss"))
        return tmp_path / "index.faiss"

    def test_maps_a_good_file(self, file: Path, vectors: NDArray[np.float32]) -> None:
        index = ShardedIndex.open([file, file], [100, 100], DIMENSION, nprobe=None)
        assert index.size == 200
        assert sorted(index.search(vectors[:1], 2).rows[0].tolist()) == [0, 100]

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
