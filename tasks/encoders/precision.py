"""The precision in which an encoder computes: 32-bit numbers, or 8-bit ones, which is faster."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import (
    FINGERPRINT_DIGITS,
    INT8_SUFFIX,
    MODEL_FILE,
    EncoderSource,
    EncoderSpec,
    Precision,
)

INT8_VERSION = "int8-1"
"""Part of such an encoder's fingerprint: a change that changes vectors is a new version."""


def with_precision(name: str, precision: Precision | None) -> str:
    """Return the name of the same encoder in a precision; None: as the name says."""
    if precision is None:
        return name
    full = name.removesuffix(INT8_SUFFIX)
    return f"{full}{INT8_SUFFIX}" if precision == "int8" else full


class Int8Source:
    """Source of an encoder whose convolutions compute in 8 bits, made of the source of one that computes in 32."""

    def __init__(self, source: EncoderSource) -> None:
        if getattr(source, "text_tower", None):
            raise EncoderError(
                f"{source.name} knows texts by vectors of 32 bits, and pictures in 8 bits would have others: "
                "use --precision float32"
            )
        self._source = source

    @property
    def name(self) -> str:
        return f"{self._source.name}{INT8_SUFFIX}"

    def fingerprint(self) -> str:
        """Return sixteen hex digits over the encoder in 32 bits and how it is brought to 8."""
        parts = f"{INT8_VERSION} {self._source.fingerprint()}"
        return hashlib.sha256(parts.encode()).hexdigest()[:FINGERPRINT_DIGITS]

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` and describe it. Raises `EncoderError`, also where the vectors differ too much."""
        # imported here: a run that finds the encoder in its store need not wait for it
        from lookalike.tasks.encoders.quantization import quantize  # noqa: PLC0415

        with tempfile.TemporaryDirectory(prefix="lookalike-int8-") as folder:
            full = self._source.export(Path(folder))
            spec = full.model_copy(update={"name": self.name, "fingerprint": self.fingerprint(), "precision": "int8"})
            quantize(Path(folder) / MODEL_FILE, full, directory / MODEL_FILE, spec)
        return spec
