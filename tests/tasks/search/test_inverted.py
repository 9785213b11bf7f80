"""Inverted lists: which of them a query visits, how they are scanned, and how candidates are ranked again."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.tasks.build.planner import count_bytes_beside
from lookalike.tasks.build.shard import build_index
from lookalike.tasks.build.train import train
from lookalike.tasks.search import inverted
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.inverted import InvertedGroup
from lookalike.tasks.search.neighbours import SearchParameters
from tests.tasks.search.shards import (
    LISTS,
    SHORT,
    built,
    overlap,
    plan_for,
    sharded,
)


@pytest.mark.parametrize("key", LISTS)
def test_a_filter_that_leaves_only_what_is_far_away_is_followed_there(vectors: NDArray[np.float32], key: str) -> None:
    """What matches lies in other lists than those near the query: as a colour does that only shoes have."""
    index = sharded(vectors, key)
    index.parameters = SearchParameters(nprobe=1, k_factor=10)
    reached = []
    for query in vectors[:40]:
        far = vectors[np.argmin(vectors @ query)]
        allowed = np.isin(np.arange(3000), np.argsort(-(vectors @ far))[:300])
        reached.append(overlap(index.search(query[None], 10, allowed=allowed), vectors, query[None], allowed))
    assert np.mean(reached) >= 0.85


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_a_list_without_a_match_is_no_end(
    vectors: NDArray[np.float32], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a category that only some lists have, the last of those that were ranked often has none."""
    monkeypatch.setattr(inverted, "GRAPH_UP_TO", 0.5)
    group = InvertedGroup(built(vectors, "IVF256,SQ8"))
    random = np.random.default_rng(3)
    counts = np.where(random.random(256) < share, random.integers(1, 200, 256), 0)
    scores, lists = group.choose_matching_lists(vectors[:300], counts, int(counts.sum()), 100)
    seen = np.where(lists < 0, 0, counts[lists]).sum(axis=1)
    assert seen.min() >= 100
    assert (np.diff(scores, axis=1)[lists[:, 1:] >= 0] <= 1e-6).all()


@pytest.mark.parametrize("key", LISTS)
@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
def test_many_queries_take_memory_for_some_at_a_time(
    vectors: NDArray[np.float32], key: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As near-duplicates are looked for, thousands at once: they answer as one by one."""
    index = sharded(vectors, key)
    index.parameters = SearchParameters(nprobe=2, k_factor=10)
    allowed = vectors[:, 0] > np.quantile(vectors[:, 0], 1 - share)
    single = [index.search(query[None], 11, allowed=allowed) for query in vectors[:300]]
    ranked: list[int] = []
    coarse = InvertedGroup.find_nearest_lists

    def watch(self: InvertedGroup, queries: NDArray[np.float32], nprobe: int) -> Any:
        ranked.append(len(queries) * nprobe)
        return coarse(self, queries, nprobe)

    monkeypatch.setattr(InvertedGroup, "find_nearest_lists", watch)
    monkeypatch.setattr(inverted, "RANKED_AT_A_TIME", 16 * 20)
    together = index.search(vectors[:300], 11, allowed=allowed)
    np.testing.assert_array_equal(together.rows, np.concatenate([one.rows for one in single]))
    assert max(ranked, default=0) <= 16 * 20


def test_where_what_matches_is_far_from_some_queries_these_rank_all_lists(
    vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inverted, "GRAPH_UP_TO", 0.5)  # of so few lists all would be compared anyway
    index = sharded(vectors, "IVF256,SQ8")
    index.nprobe = 2
    allowed = vectors @ vectors[0] < np.quantile(vectors @ vectors[0], 0.3)
    ranked: list[tuple[int, int]] = []
    coarse = InvertedGroup.find_nearest_lists

    def watch(self: InvertedGroup, queries: NDArray[np.float32], nprobe: int) -> Any:
        ranked.append((len(queries), nprobe))
        return coarse(self, queries, nprobe)

    monkeypatch.setattr(InvertedGroup, "find_nearest_lists", watch)
    assert overlap(index.search(vectors[:200], 1, allowed=allowed), vectors, vectors[:200], allowed, k=1) >= 0.95
    (everyone, some_lists), (far, all_lists), *_ = ranked
    assert (everyone, all_lists) == (200, 256)
    assert some_lists < 128
    assert 10 <= far < 200


@pytest.mark.parametrize("key", SHORT)
def test_ranking_again_decodes_some_at_a_time(
    vectors: NDArray[np.float32], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deep page of one query has as many candidates as the first of many."""
    index = sharded(vectors, key)
    index.parameters = SearchParameters(nprobe=16, k_factor=20)
    pages = [(vectors[:1], 500), (vectors[:40], 10), (vectors[:3], 100)]
    whole = [index.search(queries, k).rows for queries, k in pages]
    decoded: list[int] = []
    fine_scores = InvertedGroup.score_finely

    def watch(self: InvertedGroup, queries: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        decoded.append(rows.size)
        return fine_scores(self, queries, rows)

    monkeypatch.setattr(InvertedGroup, "score_finely", watch)
    monkeypatch.setattr(inverted, "DECODED_AT_A_TIME", 300)
    for (queries, k), rows in zip(pages, whole, strict=True):
        np.testing.assert_array_equal(index.search(queries, k).rows, rows)
    assert max(decoded) <= 300
    decoded.clear()
    monkeypatch.setattr(inverted, "MOST_CANDIDATES", 600)
    found = index.search(vectors[:1], 500)
    assert sum(decoded) == 600
    assert len(set(found.rows[0].tolist())) == 500


def test_lists_are_scanned_in_pieces_where_their_tables_would_be_large(
    vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows are candidates here, so that hits do not depend on how coarsely a scan rounds its scores."""
    index = ShardedIndex(built(vectors, "IVF16,RaBitQfs,Refine(SQ8)"), nprobe=16, ef_search=None, k_factor=10)
    whole = index.search(vectors[:3], 300).rows
    scanned: list[int] = []
    scan = inverted._Lists.scan

    def watch(shard: Any, queries: Any, k: int, coarse: Any, lists: NDArray[np.int64], selector: Any) -> Any:
        scanned.append(lists.shape[1])
        return scan(shard, queries, k, coarse, lists, selector)

    monkeypatch.setattr(inverted._Lists, "scan", watch)
    monkeypatch.setattr(inverted, "MOST_TABLES", 5 * inverted.TABLE_BYTES * index.dimension)
    np.testing.assert_array_equal(index.search(vectors[:3], 300).rows, whole)
    assert set(scanned) == {5, 1}


def test_shards_that_were_not_trained_as_one_are_refused(vectors: NDArray[np.float32]) -> None:
    """The same centroids with other codebooks: FAISS would merge their scores without a word."""
    key = "IVF16,PQ8x4fs,Refine(SQ8)"
    (one,), (other,) = (built(vectors, key, cuts=(), learnt=part) for part in ((0, 1500), (1500, 3000)))
    with pytest.raises(CorruptError, match="not trained as one"):
        ShardedIndex([one, other])


@pytest.mark.parametrize("key", SHORT)
def test_short_codes_of_all_shards_are_scanned_at_once(vectors: NDArray[np.float32], key: str) -> None:
    """Else look-up tables would be computed for each shard anew."""
    index = sharded(vectors, key)
    index.parameters = SearchParameters(nprobe=4, k_factor=10)
    with patch.object(inverted._Lists, "scan", autospec=True, side_effect=inverted._Lists.scan) as scan:
        assert overlap(index.search(vectors[:100], 10), vectors, vectors[:100], np.ones(3000, bool)) >= 0.8
    scan.assert_called_once()


@pytest.mark.parametrize("rows", [1, 256, 31, 32, 33, 512])
def test_rows_are_appended_to_lists_of_any_length(vectors: NDArray[np.float32], rows: int) -> None:
    """FAISS's `add_entries` writes past the end of a list whose rows are a multiple of the bytes of a block."""
    key = "IVF1,PQ4x4fs,Refine(SQ8)"
    trained = train([vectors.astype(np.float16)], plan_for(key), threads=1)[1]
    parts = np.split(vectors[:1500].astype(np.float16), [rows, 2 * rows, 1400])
    shards = [build_index([part], len(part), plan_for(key), None, trained, threads=1) for part in parts]
    block = faiss.downcast_InvertedLists(faiss.downcast_index(shards[0].base_index).invlists).block_size
    assert block == 64
    whole = build_index([vectors[:1500].astype(np.float16)], 1500, plan_for(key), None, trained, threads=1)
    apart, together = (ShardedIndex(some, nprobe=1, k_factor=4) for some in (shards, [whole]))
    found, wanted = (index.search(vectors[:50], 10) for index in (apart, together))
    np.testing.assert_array_equal(found.rows, wanted.rows)
    np.testing.assert_array_equal(found.scores, wanted.scores)


@pytest.mark.parametrize("key", LISTS)
def test_memory_beside_the_file_is_what_is_planned_with(vectors: NDArray[np.float32], key: str) -> None:
    group = InvertedGroup(built(vectors, key))
    group.warm_up()
    assert all(part.index.direct_map.no() for part in group._parts)
    places = sum(part.map_rows_to_lists().nbytes for part in group._parts)
    assert places == 3000 * count_bytes_beside(key)
