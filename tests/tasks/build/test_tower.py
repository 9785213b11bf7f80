"""How texts find pictures: measured by itself, and searched further where that is needed."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.data.catalogue.normalised import LocalCatalogue
from lookalike.data.embeddings import HASH
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import EncoderSection, IndexSection, ShardSection, SpaceSection
from lookalike.data.stores import open_store
from lookalike.tasks.build.centre import learn_centre
from lookalike.tasks.build.tower import evaluate_tower
from lookalike.tasks.encoders.base import scale_to_unit_length
from lookalike.tasks.encoders.stored import store_source
from lookalike.tasks.encoders.texts.base import encode_texts
from lookalike.tasks.encoders.texts.exported import put_text_encoder
from lookalike.tasks.encoders.texts.stored import load_text_encoder
from lookalike.tasks.search.tower import read_centre
from tests.support.towers import COLOURS, TwoTowers

LISTS = 16


@pytest.mark.parametrize(("target", "is_raised"), [(0.0, False), (0.99, True)])
def test_more_lists_are_visited_where_texts_need_them(tmp_path: Path, target: float, is_raised: bool) -> None:
    store = open_store(str(tmp_path / "store"))
    random = np.random.default_rng(1)
    vectors = scale_to_unit_length(random.standard_normal((2000, 192)).astype(np.float32))
    index = faiss.index_factory(192, f"IVF{LISTS},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "index"))
    titles = [" ".join(random.choice(COLOURS, 4)) for _ in range(2000)]
    pq.write_table(pa.table({"title": titles}), tmp_path / "products")
    section = IndexSection(key=f"IVF{LISTS},Flat", dimension=192, trained_on=2000, nprobe=1, reason="a test")
    text = put_text_encoder(store, TwoTowers().text_tower())
    encoder = EncoderSection(**{**text.model_dump(), "vocabulary": None, "text": text})
    shard = ShardSection.of(
        index=blobs.put_file(store, tmp_path / "index"),
        products=blobs.put_file(store, tmp_path / "products"),
        count=2000,
    )
    space = SpaceSection.of(encoder, None, section)

    measured = evaluate_tower(store.uri, space, [shard], target, threads=1)

    assert measured.index.nprobe is not None
    assert (measured.index.nprobe > 1) == is_raised
    assert measured.index.key == section.key
    if is_raised:
        assert measured.figures["tower_recall_at_10"] >= target
    else:
        assert measured.figures["tower_recall_at_10"] < 0.9
    assert 0 <= measured.figures["tower_title_hits_at_10"] <= 1


@pytest.mark.parametrize("titled", [40, 400])
def test_few_titles_are_joined_by_captions(tmp_path: Path, titled: int) -> None:
    store = open_store(str(tmp_path / "store"))
    encoder = store_source(store, TwoTowers())
    titles = [f"red {number}" if number < titled else "" for number in range(400)]
    hashes = [bytes([number // 2, number % 2]) + bytes(30) for number in range(400)]
    columns = {"id": [str(number) for number in range(400)], "title": titles, "image_hash": pa.array(hashes, HASH)}
    (tmp_path / "catalogue").mkdir()
    catalogue = LocalCatalogue(tmp_path / "catalogue", [pa.table(columns)])
    catalogue.store(store)

    centre = read_centre(blobs.read(store, learn_centre(store, catalogue.id, 400, encoder, threads=1)), 192)

    assert encoder.text is not None
    tower = load_text_encoder(store.uri, encoder.text, 1)
    red = encode_texts(tower, ["red 1"])[0]
    assert (centre == pytest.approx(red, abs=1e-5)) == (titled == 400)
