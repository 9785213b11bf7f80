"""Views: the nearest of several pictures counts, and what is found is what comparing with every picture finds."""

from __future__ import annotations

import io
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.blobs import Blob, BlobCache
from lookalike.data.snapshots.manifest import Manifest, ViewsSection
from lookalike.data.stores.local import LocalStore
from lookalike.tasks.search.filters import parse
from lookalike.tasks.search.index import ShardedIndex
from lookalike.tasks.search.projection import normalise
from lookalike.tasks.search.searcher import Searcher
from lookalike.tasks.search.views import Views, read_views, views_to_bytes
from tests.support.shop import Shop, picture, write_pictures

DIMENSION = 8
Mask = NDArray[np.bool_]


class World:
    """Products with pictures at random, their index, and what comparing with every picture finds."""

    def __init__(self, seed: int, key: str = "Flat", products: int = 60, most: int = 9) -> None:
        self.random = np.random.default_rng(seed)
        counts = self.random.integers(0, most, products)
        owners = np.repeat(np.arange(products), counts)
        numbers = np.concatenate([np.arange(2, 2 + count) for count in counts])
        order = self.random.permutation(len(owners))
        self.owners, self.numbers, self.products = owners[order], numbers[order], products
        self.vectors = self.draw(products + len(owners))
        first, further = self.make_index(key, self.vectors[:products]), self.make_index(key, self.vectors[products:])
        self.alive = self.random.random(products) < 0.9
        views = Views(products, self.owners, self.numbers)
        self.index = ShardedIndex([first, further], nprobe=64, alive=self.alive, views=views)

    def draw(self, count: int) -> NDArray[np.float32]:
        return normalise(self.random.normal(size=(count, DIMENSION)).astype(np.float32))

    def make_index(self, key: str, vectors: NDArray[np.float32]) -> faiss.Index:
        index = faiss.index_factory(DIMENSION, key, faiss.METRIC_INNER_PRODUCT)
        if key != "Flat":
            index.train(self.vectors)
            index.add_with_ids(vectors, np.arange(len(vectors)))
        else:
            index.add(vectors)
        return index

    def score(self, query: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the best score of each product, and which of its pictures has it."""
        scores = self.vectors @ query
        best, number = scores[: self.products].copy(), np.ones(self.products, np.int64)
        for owner, which, score in zip(self.owners, self.numbers, scores[self.products :], strict=True):
            if score > best[owner]:
                best[owner], number[owner] = score, which
        return best, number

    def find(self, query: NDArray[np.float32], k: int, allowed: Mask) -> list[int]:
        best, _ = self.score(query)
        rows = np.flatnonzero(allowed)
        found: list[int] = rows[np.argsort(-best[rows], kind="stable")][:k].tolist()
        return found


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 80), share=st.sampled_from([0.0, 0.05, 0.4, 1.0]))
def test_search_finds_the_products_that_comparing_with_every_picture_finds(seed: int, k: int, share: float) -> None:
    world = World(seed, "Flat" if seed % 2 else "IVF4,Flat")
    queries = world.draw(3)
    allowed = None if share == 1.0 else world.random.random(world.products) < share
    for is_exact in (False, True):
        search = world.index.search_exact if is_exact else world.index.search
        found = search(queries, k, allowed=allowed)
        for query, rows, scores in zip(queries, found.rows, found.scores, strict=True):
            expected = world.find(query, k, world.alive if allowed is None else allowed)
            assert rows[rows >= 0].tolist() == expected
            assert np.allclose(scores[rows >= 0], world.score(query)[0][expected], atol=1e-5)


def test_scores_and_nearest_pictures_are_those_of_every_picture() -> None:
    world = World(7)
    query, rows = world.draw(1)[0], np.array([5, 3, 5, 59, 0])
    best, number = world.score(query)
    assert np.allclose(world.index.compare(query, rows), best[rows], atol=1e-5)
    has_choice = np.isin(rows, world.owners)
    assert world.index.find_views(query, rows).tolist() == np.where(has_choice, number[rows], 0).tolist()


def test_one_product_with_very_many_near_pictures_hides_no_other() -> None:
    near = np.tile(np.eye(DIMENSION, dtype=np.float32)[0], (500, 1))
    first = np.eye(DIMENSION, dtype=np.float32)
    shards = [faiss.IndexFlatIP(DIMENSION), faiss.IndexFlatIP(DIMENSION)]
    shards[0].add(first)
    shards[1].add(near)
    index = ShardedIndex(shards, views=Views(DIMENSION, np.zeros(500, np.int64), np.arange(2, 502)))
    found = index.search(np.eye(DIMENSION, dtype=np.float32)[:1] + 0.1 * np.arange(DIMENSION, dtype=np.float32), 4)
    assert len(set(found.rows[0].tolist())) == 4


@pytest.mark.parametrize(
    "rows",
    [
        np.array([[0, 2]], np.int64),
        np.array([[0, 2], [1, 2]], np.uint32),
        np.array([[3, 2]], np.uint32),
        np.array([[0, 1]], np.uint32),
    ],
)
def test_views_that_cannot_be_are_damage(rows: NDArray[np.integer]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, rows)
    blob = Blob(sha256="0" * 64, size=1)
    section = ViewsSection(index=blob, rows=blob, count=1)
    for data in (buffer.getvalue(), b"no array"):
        with pytest.raises(CorruptError):
            read_views(data, section, 3)
    assert read_views(views_to_bytes(np.array([[2, 2]])), section, 3).tolist() == [[2, 2]]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(LocalStore(tmp_path / "store"), tmp_path)


def build(shop: Shop, *, shards: int = 2) -> Manifest:
    """Publish 24 products, of which the number n has n % 4 further pictures."""
    folder = shop.folder / "pictures"
    folder.mkdir()
    rows = write_pictures(folder, 24)
    for number, row in enumerate(rows):
        row["views"] = [str(folder / f"{number}-{view}.png") for view in range(2, 2 + number % 4)]
        for view, file in enumerate(row["views"], 2):
            Path(file).write_bytes(picture(1000 * view + number))
    return shop.build_rows(rows, shards=shards)


def test_a_snapshot_finds_products_by_each_of_their_pictures(shop: Shop, tmp_path: Path) -> None:
    manifest = build(shop)
    searcher = Searcher.open(shop.store, manifest, BlobCache(tmp_path / "cache"), threads=1)
    assert manifest.requires == ("views",)
    for number in range(24):
        for view in range(1, 2 + number % 4):
            data = picture(number if view == 1 else 1000 * view + number)
            hit = searcher.search(searcher.embed(data), 1)[0]
            assert hit.product.title == f"Product {number} <b>&</b>"
            assert hit.score == pytest.approx(1.0, abs=1e-3)
            assert hit.view == (view if number % 4 else None)
            assert Path(hit.product.view(view).image).read_bytes() == data
    cheap = searcher.search(searcher.embed(picture(3023)), 24, [parse("price<20")])
    assert len(cheap) == 9  # one has no price
    assert len({hit.product.id for hit in cheap}) == 9


def test_snapshots_without_further_pictures_are_as_they_were(shop: Shop, tmp_path: Path) -> None:
    manifest = shop.build(24)
    assert manifest.requires == ()
    assert not any(shard.views for shard in manifest.shards)
    searcher = Searcher.open(shop.store, manifest, BlobCache(tmp_path / "cache"), threads=1)
    assert not searcher.has_views
    hits = searcher.search(searcher.embed(picture(3)), 5)
    assert [hit.view for hit in hits] == [None] * 5
    with pytest.raises(IndexError):
        hits[0].product.view(2)
