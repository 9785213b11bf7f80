"""The tower of texts: a text meets pictures in their index, each kind centred on its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.stores.memory import MemoryStore
from lookalike.tasks.encoders.base import scale_to_unit_length
from lookalike.tasks.encoders.texts.exported import put_text_encoder
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
from lookalike.tasks.encoders.texts.stored import open_text_encoder
from lookalike.tasks.search.projection import learn
from lookalike.tasks.search.searcher import Searcher
from lookalike.tasks.search.tower import TextTower, read_centre
from tests.support.shop import Shop
from tests.support.towers import TWO_TOWERS, TwoTowers


def make_tower(pictures: np.ndarray, centre: np.ndarray | None) -> TextTower:
    store = MemoryStore()
    section = put_text_encoder(store, TwoTowers().text_tower())
    assert section.vocabulary is not None
    spec, model, words = (blobs.read(store, blob) for blob in (section.spec, section.model, section.vocabulary))
    encoder: OnnxTextEncoder = open_text_encoder(section, spec, model, words, threads=1)
    return TextTower(section, encoder, learn(pictures, 16), centre)


def test_each_kind_is_centred_on_its_own() -> None:
    random = np.random.default_rng(3)
    basis = random.standard_normal((16, 64)).astype(np.float32)
    things = random.standard_normal((400, 16)).astype(np.float32)
    gaps = 2 * random.standard_normal((2, 16)).astype(np.float32) @ basis
    pictures = scale_to_unit_length(things @ basis + gaps[0])
    texts = scale_to_unit_length(things @ basis + gaps[1] + 0.3 * random.standard_normal((400, 64)).astype(np.float32))

    def count_right(centre: np.ndarray | None) -> float:
        tower = make_tower(pictures, centre)
        assert tower._projection is not None
        scores = tower.find_directions(texts) @ tower._projection(pictures).T
        return float((scores.argmax(axis=1) == np.arange(400)).mean())

    own, none = count_right(texts.mean(axis=0)), count_right(None)
    assert own > 0.95
    assert none < own - 0.3  # what lies between the two cones would decide


def test_without_a_projection_vectors_stay_as_they_are() -> None:
    tower = make_tower(np.eye(40, dtype=np.float32), None)
    tower._projection = None
    vectors = np.array([[3.0, 4.0]], np.float32)
    assert tower.find_directions(vectors).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_the_next_snapshot_shares_the_encoder(tmp_path: Path) -> None:
    shop = Shop(MemoryStore(), tmp_path)
    cache = BlobCache(tmp_path / "cache")
    first = Searcher.open(shop.store, shop.build(8, encoder=TWO_TOWERS), cache, threads=1)
    second = Searcher.open(shop.store, shop.build(9, encoder=TWO_TOWERS), cache, threads=1, previous=first)
    without = Searcher.open(shop.store, shop.build(9), cache, threads=1, previous=second)
    assert first.tower is not None
    assert second.tower is not None
    assert second.tower.encoder is first.tower.encoder
    assert without.tower is None


@pytest.mark.parametrize("data", [b"", b"nonsense", (np.zeros(3)).tobytes()])
def test_a_damaged_centre(data: bytes) -> None:
    with pytest.raises(CorruptError, match="centre of texts"):
        read_centre(data, 3)
