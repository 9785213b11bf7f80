"""Make an encoder that computes in smaller numbers, of one that computes in 32 bits."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import (
    FINGERPRINT_DIGITS,
    MODEL_FILE,
    EncoderSource,
    EncoderSpec,
)
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.precision.names import Precision, with_precision

PARITY: dict[Precision, float] = {"int8": 0.98, "bfloat16": 0.995}
"""The least cosine between a picture's vectors in a precision and in 32 bits."""

_VERSIONS: dict[Precision, str] = {"int8": "int8-1", "bfloat16": "bfloat16-1"}
"""Part of such an encoder's fingerprint: a change that changes vectors is a new version."""


class ReducedSource:
    """Source of an encoder that computes in 8 bits or in bfloat16, made of the source of one that computes in 32."""

    def __init__(self, source: EncoderSource, precision: Precision) -> None:
        if getattr(source, "text_tower", None):
            raise EncoderError(
                f"{source.name} knows texts by vectors of 32 bits, and pictures in {precision} would have others: "
                "use --precision float32"
            )
        self._source = source
        self._precision = precision

    @property
    def name(self) -> str:
        return with_precision(self._source.name, self._precision)

    def fingerprint(self) -> str:
        """Return sixteen hex digits over the encoder in 32 bits and what is done to it."""
        parts = f"{_VERSIONS[self._precision]} {self._source.fingerprint()}"
        return hashlib.sha256(parts.encode()).hexdigest()[:FINGERPRINT_DIGITS]

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` and describe it. Raises `EncoderError`, also where the vectors differ too much."""
        with tempfile.TemporaryDirectory(prefix="lookalike-precision-") as folder:
            spec = self._source.export(Path(folder))
            full = OnnxEncoder(Path(folder) / MODEL_FILE, spec, threads=1)
            self._write(full, Path(folder) / MODEL_FILE, directory / MODEL_FILE)
            change = {"name": self.name, "fingerprint": self.fingerprint(), "precision": self._precision}
            reduced = spec.model_copy(update=change)
            _check_parity(full, OnnxEncoder(directory / MODEL_FILE, reduced, threads=1))
        return reduced

    def _write(self, full: OnnxEncoder, model: Path, target: Path) -> None:
        if self._precision == "bfloat16":  # OpenVINO rounds the same weights when it opens them
            shutil.copyfile(model, target)
            return
        # imported here: a run that finds the encoder in its store need not wait for it
        from lookalike.tasks.encoders.precision.quantization import quantize  # noqa: PLC0415

        quantize(full, model, target)


def _check_parity(full: OnnxEncoder, reduced: OnnxEncoder) -> None:
    from lookalike.tasks.encoders.export import measure_least_cosine  # noqa: PLC0415 - it leads to torch

    precision = reduced.spec.precision
    least = measure_least_cosine(full, reduced)
    if not least >= PARITY[precision]:
        raise EncoderError(
            f"{full.spec.name} loses too much in {precision} (cosine {least:.3f}, needs {PARITY[precision]}): "
            "use --precision float32"
        )
