"""A model of one's own: a folder as sentence-transformers saves it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.texts.base import TextSpec, WordPieceSpec, encode_texts
from lookalike.tasks.encoders.texts.fake import FakeTextEncoder
from lookalike.tasks.encoders.texts.files import OnnxFolder
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FakeTextEncoder().export(tmp_path)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "model.onnx").rename(tmp_path / "onnx" / "model.onnx")
    return tmp_path


def write(folder: Path, name: str, **settings: object) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(settings))


def export(folder: Path, target: Path) -> tuple[TextSpec, OnnxTextEncoder]:
    target.mkdir()
    spec = OnnxFolder(str(folder)).export(target)
    return spec, OnnxTextEncoder(target / "model.onnx", (target / "vocab.txt").read_bytes(), spec, threads=1)


def test_a_folder_without_settings(folder: Path, tmp_path: Path) -> None:
    spec, encoder = export(folder, tmp_path / "out")
    assert (spec.dimension, spec.pooling, spec.most_tokens, spec.mask_name) == (32, "mean", 128, None)
    assert spec.fingerprint == OnnxFolder(str(folder)).fingerprint()
    assert spec.name == f"onnx:{folder}"
    assert encode_texts(encoder, ["red shoe"]).any()


def test_settings_are_followed(folder: Path, tmp_path: Path) -> None:
    before = OnnxFolder(str(folder)).fingerprint()
    write(folder, "1_Pooling/config.json", pooling_mode_cls_token=True)
    write(folder, "sentence_bert_config.json", max_seq_length=16)
    write(folder, "tokenizer_config.json", do_lower_case=False)

    spec, encoder = export(folder, tmp_path / "out")

    assert (spec.pooling, spec.most_tokens) == ("first", 16)
    assert spec.tokenizer == WordPieceSpec(lowercase=False)
    assert spec.fingerprint != before
    assert len(encoder.prepare("ab " * 40).ids) == 16


def test_a_model_that_pools_itself(folder: Path, tmp_path: Path) -> None:
    model = onnx.load(folder / "onnx" / "model.onnx")
    model.graph.node.append(helper.make_node("ReduceMean", ["last_hidden_state", "axis"], ["pooled"], keepdims=0))
    model.graph.initializer.append(helper.make_tensor("axis", TensorProto.INT64, [1], [1]))
    model.graph.output.pop()
    model.graph.output.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["n", 32]))
    onnx.save(model, folder / "onnx" / "model.onnx")

    spec, encoder = export(folder, tmp_path / "out")

    assert (spec.pooling, spec.output_name) == ("none", "pooled")
    assert np.linalg.norm(encode_texts(encoder, ["red shoe", "blue"]), axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "vocab.txt").unlink(), "neither vocab.txt"),
        (lambda folder: (folder / "onnx" / "model.onnx").unlink(), "neither model.onnx nor onnx/model.onnx"),
        (lambda folder: (folder / "onnx" / "model.onnx").write_bytes(b"no"), "cannot be loaded"),
        (lambda folder: (folder / "tokenizer_config.json").write_text("{"), "tokenizer_config.json cannot be read"),
        (lambda folder: write(folder, "1_Pooling/config.json", pooling_mode_max_tokens=True), "by their mean"),
        (lambda folder: write(folder, "tokenizer_config.json", strip_accents=False), "kept together"),
    ],
)
def test_a_folder_that_cannot_be_used(folder: Path, tmp_path: Path, spoil: object, message: str) -> None:
    assert callable(spoil)
    spoil(folder)
    with pytest.raises(EncoderError, match=message):
        export(folder, tmp_path / "out")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="there is no folder"):
        OnnxFolder(str(tmp_path / "none"))
