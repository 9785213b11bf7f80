"""The networks of EfficientNet-Lite, and how their feature maps become a vector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.functional import normalize

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import export

# The middle layer tells products apart, the last one kinds of product; retrieval was best at weights of 1.5 to 2.
MIDDLE_WEIGHT = 2.0


def build_network(name: str, weights: Path, size: int, pooling: str) -> nn.Module:
    """Build the network for pictures of `size` pixels: float32 (n, 3, size, size) to (n, d). Raises `EncoderError`."""
    return _BACKBONES[pooling](_load_network(name, weights, size))


class LastLayer(nn.Module):
    """The network up to its last feature map, pooled: (n, 1280) for each of the three sizes."""

    def __init__(self, network: EfficientNet, p: float) -> None:
        super().__init__()
        self.network = network
        self.pool = export.Gem(p)

    def forward(self, planes: Tensor) -> Tensor:
        return cast("Tensor", self.pool(self.network.extract_features(planes)))


class TwoLayers(nn.Module):
    """The last feature map and a middle one, each pooled and scaled to its weight as length: (n, 1952 or more)."""

    def __init__(self, network: EfficientNet) -> None:
        super().__init__()
        self.network = network
        self.middle = find_middle_block(network)
        self.pool = export.Gem()

    def forward(self, planes: Tensor) -> Tensor:
        last, middle = self._extract_features(planes)
        return torch.cat(
            [normalize(self.pool(last)), MIDDLE_WEIGHT * normalize(self.pool(middle))],
            dim=1,
        )

    def _extract_features(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last and the middle feature map; the network's own `extract_features` returns only the last."""
        network = self.network
        features = network._swish(network._bn0(network._conv_stem(planes)))
        middle = features
        for index, block in enumerate(network._blocks):
            if index == self.middle:
                middle = block._swish(block._bn0(block._expand_conv(features)))
            features = block(features)
        return network._swish(network._bn1(network._conv_head(features))), middle


_BACKBONES: dict[str, Callable[[EfficientNet], nn.Module]] = {
    "avg": lambda network: LastLayer(network, p=1.0),
    "gem3": lambda network: LastLayer(network, p=3.0),
    "gem3+2*gem3(middle)": TwoLayers,
}


def find_middle_block(network: EfficientNet) -> int:
    """Return the last block that halves the picture: its expanded features are the last at a sixteenth of the size."""
    return max(index for index, block in enumerate(network._blocks) if block._depthwise_conv.stride[0] == 2)


def _load_network(name: str, weights: Path, size: int) -> EfficientNet:
    try:
        network = EfficientNet.from_name(name, image_size=size)
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise EncoderError(f"the packaged weights of {name} cannot be used: {error}") from error
    return network
