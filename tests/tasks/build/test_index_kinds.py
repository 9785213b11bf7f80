"""Factory strings: each kind can be built in every dimension that vectors come in."""

from __future__ import annotations

import faiss
import pytest

from lookalike.tasks.build.index_kinds import KINDS, Kind, count_lists, make_index_key


@pytest.mark.parametrize("dimension", [32, 64, 100, 256, 257, 768])
@pytest.mark.parametrize("kind", KINDS)
def test_faiss_knows_every_key(kind: Kind, dimension: int) -> None:
    index = faiss.index_factory(
        dimension, make_index_key(kind, 100_000, 100_000, dimension), faiss.METRIC_INNER_PRODUCT
    )
    assert index.d == dimension


@pytest.mark.parametrize(
    ("products", "lists", "short"),
    [(1, 1, 1), (50_001, 512, 2048), (250_000, 2048, 8192), (1_000_000, 8192, 32_768), (10**7, 65_536, 65_536)],
)
def test_lists_have_about_as_many_rows_whatever_the_catalogue(products: int, lists: int, short: int) -> None:
    assert count_lists("IVF SQ8", products, products) == count_lists("IVF PQ", products, products) == lists
    assert count_lists("IVF SQ8 short", products, products) == short


@pytest.mark.parametrize(("pictures", "lists"), [(1, 1), (31, 1), (32, 2), (600, 32), (16_384, 512), (50_001, 512)])
def test_lists_are_no_more_than_pictures_can_teach(pictures: int, lists: int) -> None:
    assert count_lists("IVF SQ8", 50_001, pictures) == lists


@pytest.mark.parametrize("kind", ["Flat", "HNSW SQ8"])
def test_there_are_kinds_without_lists(kind: Kind) -> None:
    assert count_lists(kind, 100_000, 100_000) == 0


def test_many_centroids_are_found_by_a_graph() -> None:
    assert make_index_key("IVF RaBitQ", 100_000, 100_000, 64) == "IVF1024,RaBitQfs,Refine(SQ8)"
    assert make_index_key("IVF PQ", 1_000_000, 1_000_000, 64) == "IVF8192_HNSW32,PQ16x4fs,Refine(SQ8)"
