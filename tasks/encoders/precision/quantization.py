"""Quantise a model: its convolutions compute in 8 bits, and all else stays in 32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.export import read_pictures, silence_exporter
from lookalike.tasks.encoders.onnx import OnnxEncoder

_QUANTIZED = ("Conv", "Clip", "Add")
_BRIGHTNESS = (0.5, 1.5)


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, name: str, batches: Iterator[NDArray[np.uint8]]) -> None:
        self._inputs = ({name: batch} for batch in batches)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._inputs, None)


def quantize(full: OnnxEncoder, model: Path, target: Path) -> None:
    """Write an encoder's model in 8 bits: a scale for each channel of weights, and one for each tensor of activations.

    The ranges of activations are those of the pictures that come with Lookalike, mirrored, dark and bright ones among
    them. The method is static quantisation (Jacob et al. 2018, https://arxiv.org/abs/1712.05877), by ONNX Runtime.
    Raises `EncoderError` for a model without convolutions.
    """
    prepared = model.with_name("prepared.onnx")
    ort.set_default_logger_severity(3)  # errors only, as in our own sessions
    try:
        with silence_exporter():
            quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                prepared,
                target,
                _Calibration(full.spec.input_name, _calibrating(full)),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=list(_QUANTIZED),
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )
    except Exception as error:  # the tools of ONNX Runtime may raise anything
        raise EncoderError(f"{full.spec.name} cannot be brought to 8 bits: {error}") from error
    if not any(node.op_type == "QuantizeLinear" for node in onnx.load(target).graph.node):
        raise EncoderError(f"{full.spec.name} has no convolutions to compute in 8 bits: use --precision float32")


def _calibrating(encoder: OnnxEncoder) -> Iterator[NDArray[np.uint8]]:
    """Yield pictures as the model takes them, one by one, and a white and a black one."""
    for data in read_pictures():
        pixels = encoder.prepare(data)
        yield pixels[np.newaxis]
        yield pixels[np.newaxis, :, ::-1]
        for factor in _BRIGHTNESS:
            yield np.clip(factor * pixels[np.newaxis], 0, 255).astype(np.uint8)
    size = encoder.spec.preprocessing.size
    for value in (0, 255):
        yield np.full((1, size, size, 3), value, np.uint8)
