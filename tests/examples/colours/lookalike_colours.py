"""An encoder of your own: the colours of a picture, and how they vary, in each field of a grid.

A real one would load a network here, with `WeightsFile` from a file. All that Lookalike asks for is a name, a
fingerprint and an export; see `EncoderSource` in `lookalike.encoders`, which holds all that is needed here.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lookalike.encoders import EncoderSpec, FromPixels, Preprocessing, dimension, export, fingerprint

VERSION = "colours-1"
"""A change below that changes vectors is a new version, so that old ones are not mixed with new."""

_GRID = 6
_PREPROCESSING = Preprocessing(size=96, fit="stretch", interpolation="bilinear")


class Colours:
    """Source of the encoder named `colours`: 216 dimensions."""

    name = "colours"

    def fingerprint(self) -> str:
        """Sixteen hex digits over all that decides the vectors; nothing is exported for it."""
        return fingerprint(weights="none", preprocessing=_PREPROCESSING, pooling="grid", version=VERSION)

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` into an existing directory and describe it. Raises `EncoderError`."""
        model = FromPixels(Moments(), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        spec = EncoderSpec(
            name=self.name,
            fingerprint=self.fingerprint(),
            dimension=dimension(model, _PREPROCESSING.size),
            preprocessing=_PREPROCESSING,
            pooling="grid",
            licence="CC0-1.0",
        )
        export(model, spec, directory)
        return spec


class Moments(nn.Module):
    """Mean and standard deviation of each channel in each field: float32 (n, 3, h, w) to (n, 216)."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(_PREPROCESSING.size // _GRID)

    def forward(self, planes: Tensor) -> Tensor:
        """Centre the means, so that a picture's own colours count and not how light all pictures are."""
        mean = self.pool(planes)
        deviation = (self.pool(planes * planes) - mean * mean).clamp(min=1e-6).sqrt()
        return torch.cat([mean - 0.5, deviation], dim=1).flatten(1)
