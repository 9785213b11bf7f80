"""Factory strings: each kind can be built in every dimension that vectors come in."""

from __future__ import annotations

import faiss
import pytest

from tasks.indexing.candidates import KINDS, Kind, index_key, lists_of


@pytest.mark.parametrize("dimension", [32, 64, 100, 256, 257, 768])
@pytest.mark.parametrize("kind", KINDS)
def test_faiss_knows_every_key(kind: Kind, dimension: int) -> None:
    index = faiss.index_factory(dimension, index_key(kind, 100_000, dimension), faiss.METRIC_INNER_PRODUCT)
    assert index.d == dimension


@pytest.mark.parametrize(("products", "lists"), [(50_001, 1024), (250_000, 2048), (1_000_000, 4096), (10**7, 16_384)])
def test_lists_grow_with_the_root_of_the_catalogue(products: int, lists: int) -> None:
    assert lists_of(products) == lists


def test_many_centroids_are_found_by_a_graph() -> None:
    assert index_key("IVF RaBitQ", 100_000, 64) == "IVF1024,RaBitQfs,Refine(SQ8)"
    assert index_key("IVF PQ", 1_000_000, 64) == "IVF4096_HNSW32,PQ16x4fs,Refine(SQ8)"
