"""A tiny encoder for fast tests and dry runs: the colours of an 8 by 8 grid. A real ONNX model, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec, fingerprint
from lookalike.tasks.images.preprocessing import Preprocessing

_VERSION = "fake-1"
_GRID = 8
_CELL = 4
_DIMENSION = _GRID * _GRID * 3
# Around mid-grey, so that different pictures point different ways; no whole number, so that none is a zero vector.
_CENTRE = 127.25


class FakeEncoder:
    """Source of the encoder named `fake`: 192 dimensions, milliseconds to export, deterministic."""

    name = "fake"

    _preprocessing = Preprocessing(size=_GRID * _CELL, fit="stretch", interpolation="bilinear")
    _pooling = "grid"

    def fingerprint(self) -> str:
        """Constant for one version of this file."""
        return fingerprint(weights="none", preprocessing=self._preprocessing, pooling=self._pooling, version=_VERSION)

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` into an existing directory and describe it."""
        spec = EncoderSpec(
            name=self.name,
            fingerprint=self.fingerprint(),
            dimension=_DIMENSION,
            preprocessing=self._preprocessing,
            pooling=self._pooling,
        )
        (directory / MODEL_FILE).write_bytes(_model(spec).SerializeToString())
        return spec


def _model(spec: EncoderSpec) -> onnx.ModelProto:
    size = spec.preprocessing.size
    nodes = [
        helper.make_node("Cast", [spec.input_name], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["planes", "centre"], ["centred"]),
        helper.make_node("AveragePool", ["centred"], ["grid"], kernel_shape=[_CELL, _CELL], strides=[_CELL, _CELL]),
        helper.make_node("Flatten", ["grid"], [spec.output_name], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        spec.name,
        [helper.make_tensor_value_info(spec.input_name, TensorProto.UINT8, ["n", size, size, 3])],
        [helper.make_tensor_value_info(spec.output_name, TensorProto.FLOAT, ["n", spec.dimension])],
        [numpy_helper.from_array(np.array(_CENTRE, dtype=np.float32), "centre")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
