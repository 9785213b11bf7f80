"""Pages of one options, on every kind of index: each finds more or less, by how far it is asked to look."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.serving.query.options import QueryOptions
from lookalike.serving.search.rankings import Directions, Nearest
from lookalike.serving.search.selection import REACHES, Among, select
from lookalike.tasks.build.shard import add_vectors
from lookalike.tasks.build.train import train_index
from lookalike.tasks.search.faiss_io import read_bytes
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.projection import normalise
from lookalike.tasks.search.searcher import Matches, Searcher

KEYS = ["Flat", "IVF64,SQ8", "IVF64,RaBitQfs,Refine(SQ8)", "HNSW16,SQ8"]
COUNT = 6000
_random = np.random.default_rng(4)
CENTRES = _random.standard_normal((60, 32), np.float32)
VECTORS = normalise(CENTRES[_random.integers(0, 60, COUNT)] + 0.6 * _random.standard_normal((COUNT, 32), np.float32))


@lru_cache
def searcher(key: str) -> Searcher:
    index = read_bytes(train_index(key, VECTORS, threads=1))
    add_vectors(index, VECTORS, 0, COUNT)
    made = Searcher.__new__(Searcher)
    made._index = ShardedIndex([index], nprobe=2, ef_search=16, k_factor=10)
    return made


def pages(key: str, query: int, size: int, most: int, among: Among) -> list[int]:
    """Rows of one page after the other, until there is no more."""
    rows: list[int] = []
    while len(rows) < most:
        page = select(
            searcher(key),
            Nearest(Directions(searcher(key), [VECTORS[query]])),
            QueryOptions(k=size, offset=len(rows)),
            among,
        ).rows.tolist()
        if not page:
            break
        rows += page
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("among", [Among(), Among(VECTORS[:, 0] > 0, {0, 5})], ids=["all", "some"])
def test_pages_neither_repeat_nor_skip(key: str, among: Among) -> None:
    for query in range(0, 60, 5):
        paged = pages(key, query, 24, 480, among)
        assert len(set(paged)) == len(paged) == 480
        assert (
            paged
            == select(
                searcher(key), Nearest(Directions(searcher(key), [VECTORS[query]])), QueryOptions(k=480), among
            ).rows.tolist()
        )
        assert (
            paged[:7]
            == select(
                searcher(key), Nearest(Directions(searcher(key), [VECTORS[query]])), QueryOptions(k=7), among
            ).rows.tolist()
        )


@pytest.mark.parametrize("key", KEYS)
def test_the_last_page_holds_what_is_left(key: str) -> None:
    allowed = np.arange(COUNT) % 60 == 0
    assert sorted(pages(key, 0, 24, COUNT, Among(allowed))) == np.flatnonzero(allowed).tolist()


@pytest.mark.parametrize("key", KEYS)
def test_pages_end_where_the_score_does(key: str) -> None:
    options = QueryOptions(k=1000, min_score=0.6)
    whole = select(searcher(key), Nearest(Directions(searcher(key), [VECTORS[3]])), options, Among())
    assert 24 < len(whole) < 1000
    assert whole.scores.min() >= 0.6
    first = select(
        searcher(key), Nearest(Directions(searcher(key), [VECTORS[3]])), QueryOptions(k=24, min_score=0.6), Among()
    )
    assert first.rows.tolist() == whole.rows[:24].tolist()


@pytest.mark.parametrize("key", KEYS)
def test_what_finds_everything_looks_once(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = searcher(key)
    reaches: list[int] = []
    nearest = here.nearest

    def watch(direction: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None) -> Matches:
        reaches.append(k)
        return nearest(direction, k, allowed)

    monkeypatch.setattr(here, "nearest", watch)
    select(here, Nearest(Directions(here, [VECTORS[0]])), QueryOptions(k=24, offset=100), Among())
    assert reaches == ([REACHES[1]] if key == "Flat" else list(REACHES[:2]))


def test_the_nearest_are_first_whatever_the_page() -> None:
    found = select(
        searcher("IVF64,SQ8"), Nearest(Directions(searcher("IVF64,SQ8"), [VECTORS[9]])), QueryOptions(k=24), Among()
    )
    assert found.rows[0] == 9
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("key", KEYS)
def test_any_rows_are_compared_as_a_search_compares_them(key: str) -> None:
    found = searcher(key).nearest(VECTORS[5], 40)
    mixed = np.random.default_rng(1).permutation(len(found))
    np.testing.assert_allclose(searcher(key).compare(VECTORS[5], found.rows[mixed]), found.scores[mixed], atol=1e-5)
    assert searcher(key).compare(VECTORS[5], found.rows[:0]).shape == (0,)
