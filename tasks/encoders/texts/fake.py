"""A tiny text encoder for fast tests and dry runs: which pairs of letters a text has. A real ONNX model, no weights."""

from __future__ import annotations

import hashlib
from itertools import product
from pathlib import Path
from string import ascii_lowercase, digits

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.texts.base import VOCABULARY_FILE, TextSpec, WordPieceSpec, fingerprint_of_texts

_VERSION = "fake-2"
_DIMENSION = 32
_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class FakeTextEncoder:
    """Source of the text encoder named `fake`: 32 dimensions, milliseconds to export, deterministic.

    Texts that share many pairs of letters are near.
    """

    name = "fake"

    _tokenizer = WordPieceSpec()

    def fingerprint(self) -> str:
        """Constant for one version of this file."""
        return fingerprint_of_texts(
            weights="none",
            vocabulary=hashlib.sha256(_make_vocabulary()).hexdigest(),
            tokenizer=self._tokenizer,
            most_tokens=128,
            pooling="mean",
            version=_VERSION,
        )

    def export(self, directory: Path) -> TextSpec:
        """Write `model.onnx` and `vocab.txt` into an existing directory and describe them."""
        spec = TextSpec(
            name=self.name,
            fingerprint=self.fingerprint(),
            dimension=_DIMENSION,
            tokenizer=self._tokenizer,
            pooling="mean",
            mask_name=None,
            types_name=None,
        )
        vocabulary = _make_vocabulary()
        (directory / VOCABULARY_FILE).write_bytes(vocabulary)
        pieces = vocabulary.count(b"\n")
        (directory / MODEL_FILE).write_bytes(_make_model(spec, pieces).SerializeToString())
        return spec


def _make_vocabulary() -> bytes:
    pairs = ["".join(pair) for pair in product(ascii_lowercase, repeat=2)]
    pieces = [*ascii_lowercase, *digits, *pairs]
    return "".join(f"{piece}\n" for piece in [*_MARKS, *pieces, *(f"##{piece}" for piece in pieces)]).encode()


def _make_model(spec: TextSpec, pieces: int) -> onnx.ModelProto:
    inside = (pieces - len(_MARKS)) // 2
    rows = np.random.default_rng(1).standard_normal((inside, spec.dimension)).astype(np.float16)
    marks = np.zeros((len(_MARKS), spec.dimension), np.float16)
    table = np.concatenate([marks, rows, rows])  # a piece is the same at the beginning and inside of a word
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", spec.ids_name], ["rows"], axis=0),
            helper.make_node("Cast", ["rows"], [spec.output_name], to=TensorProto.FLOAT),
        ],
        "fake-texts",
        [helper.make_tensor_value_info(spec.ids_name, TensorProto.INT64, ["n", "tokens"])],
        [helper.make_tensor_value_info(spec.output_name, TensorProto.FLOAT, ["n", "tokens", spec.dimension])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
