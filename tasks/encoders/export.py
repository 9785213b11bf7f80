"""Turn a torch network into an ONNX file that takes bytes of pixels, and prove that it computes the same."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import parity
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec


class Gem(nn.Module):
    """Generalised mean pooling: (n, c, h, w) to (n, c). p = 1 is the average, large p the maximum.

    For features that are not negative, as they are behind a ReLU.
    """

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, features: Tensor) -> Tensor:
        """Pool over height and width, in single precision: cubes leave the range of half."""
        return features.float().clamp(min=1e-6).pow(self.p).mean(dim=(2, 3)).pow(1.0 / self.p)


class FromPixels(nn.Module):
    """A backbone behind its normalisation: uint8 (n, h, w, 3) to float32 (n, d).

    `mean` and `std` are for channel values of 0 to 1. `backbone` takes float32 (n, 3, h, w).
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, backbone: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.backbone = backbone
        # One multiplication and one addition for each value instead of three steps.
        self.register_buffer("scale", 1.0 / (255.0 * torch.tensor(std).view(1, 3, 1, 1)))
        self.register_buffer("shift", -(torch.tensor(mean) / torch.tensor(std)).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise, change the layout, run the backbone."""
        planes = images.permute(0, 3, 1, 2).to(torch.float32)
        vectors: Tensor = self.backbone(planes * self.scale + self.shift)
        return vectors.flatten(1)


def dimension(model: nn.Module, size: int) -> int:
    """Length of the vectors that a `FromPixels` model gives for pictures of this size."""
    return int(parity.run(model, np.zeros((1, size, size, 3), dtype=np.uint8)).shape[1])


def export(model: nn.Module, spec: EncoderSpec, directory: Path) -> None:
    """Write `model.onnx` for any batch size; nothing is printed.

    Raises `EncoderError` if the model cannot be exported, or if ONNX Runtime's vectors differ from torch's.
    """
    model.eval()
    path = directory / MODEL_FILE
    size = spec.preprocessing.size
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    try:
        with _quiet():
            program: Any = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                verbose=False,
                input_names=[spec.input_name],
                output_names=[spec.output_name],
                dynamic_shapes=({0: torch.export.Dim("n")},),
            )
            program.save(path, external_data=False)
    except Exception as error:  # whatever a strange model makes the exporter raise
        raise EncoderError(f"{spec.name} cannot be exported to ONNX: {error}") from error
    parity.check_parity(model, path, spec)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its progress, warns of its own deprecations, and logs through several loggers."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
