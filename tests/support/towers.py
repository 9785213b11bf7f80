"""An encoder of pictures that knows the words for colours: two towers in one space, without torch and weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import ImageColor

from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.fake import FakeEncoder
from lookalike.tasks.encoders.texts.base import VOCABULARY_FILE, TextSpec, WordPieceSpec

TWO_TOWERS = "tests.support.towers:TwoTowers"
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")
_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_GAP = 40.0


class TwoTowers(FakeEncoder):
    """Pictures as `fake` encodes them, and words for colours as pictures of nothing else.

    Texts lie apart from pictures, as those of real models do.
    """

    name = "two-towers"
    _pooling = "grid, and colours"

    def text_tower(self) -> ColourWords:
        return ColourWords(self.fingerprint())


class ColourWords:
    """Source of the tower of texts."""

    name = "two-towers"
    _tokenizer = WordPieceSpec()

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def fingerprint(self) -> str:
        return self._fingerprint

    def export(self, directory: Path) -> TextSpec:
        spec = TextSpec(
            name=self.name,
            fingerprint=self._fingerprint,
            dimension=192,
            tokenizer=self._tokenizer,
            pooling="mean",
            mask_name=None,
            types_name=None,
        )
        (directory / VOCABULARY_FILE).write_text("".join(f"{piece}\n" for piece in (*_MARKS, *COLOURS)))
        (directory / MODEL_FILE).write_bytes(_make_model(spec).SerializeToString())
        return spec


def _make_model(spec: TextSpec) -> onnx.ModelProto:
    rows = [np.repeat(np.array(ImageColor.getrgb(colour)) - 127.25, 64) for colour in COLOURS]
    gap = _GAP * np.random.default_rng(1).standard_normal(spec.dimension)
    table = np.concatenate([np.zeros((len(_MARKS), spec.dimension)), np.stack(rows)]).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", spec.ids_name], ["rows"], axis=0),
            helper.make_node("Add", ["rows", "gap"], [spec.output_name]),
        ],
        "colour-words",
        [helper.make_tensor_value_info(spec.ids_name, TensorProto.INT64, ["n", "tokens"])],
        [helper.make_tensor_value_info(spec.output_name, TensorProto.FLOAT, ["n", "tokens", spec.dimension])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(gap.astype(np.float32), "gap")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
