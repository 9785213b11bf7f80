"""Turn a torch network into an ONNX file that takes bytes of pixels, and prove that it computes the same."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import MODEL_FILE, Encoder, EncoderSpec
from lookalike.tasks.encoders.onnx import OnnxEncoder

PARITY = 0.999
"""The least cosine between torch's and ONNX Runtime's vector of a picture."""

_PICTURES = "pictures"
_SUFFIXES = (".jpg", ".png")


class Gem(nn.Module):
    """Generalised mean pooling: (n, c, h, w) to (n, c). p = 1 is the average, large p the maximum.

    For features that are not negative, as they are behind a ReLU.
    """

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = p
        self.least = 1e-6
        """Features below it count as it: a root of zero has no slope."""

    def forward(self, features: Tensor) -> Tensor:
        """Pool over height and width, in single precision: cubes leave the range of half."""
        return features.float().clamp(min=self.least).pow(self.p).mean(dim=(2, 3)).pow(1.0 / self.p)


class FromPixels(nn.Module):
    """A backbone behind its normalisation: uint8 (n, h, w, 3) to float32 (n, d).

    `mean` and `std` are for channel values of 0 to 1. `backbone` takes float32 (n, 3, h, w).
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, backbone: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.backbone = backbone
        # one multiplication and one addition for each value, instead of three steps
        self.register_buffer("scale", 1.0 / (255.0 * torch.tensor(std).view(1, 3, 1, 1)))
        self.register_buffer("shift", -(torch.tensor(mean) / torch.tensor(std)).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise, change the layout, run the backbone."""
        planes = images.permute(0, 3, 1, 2).to(torch.float32)
        vectors: Tensor = self.backbone(planes * self.scale + self.shift)
        return vectors.flatten(1)


def dimension(model: nn.Module, size: int) -> int:
    """Return the length of the vectors that a `FromPixels` model gives for pictures of `size` pixels."""
    return int(run_torch(model, np.zeros((1, size, size, 3), dtype=np.uint8)).shape[1])


def export(model: nn.Module, spec: EncoderSpec, directory: Path) -> None:
    """Write `model.onnx` for any batch size; nothing is printed.

    Raises `EncoderError` if the model cannot be exported, or if ONNX Runtime's vectors differ from torch's.
    """
    path = directory / MODEL_FILE
    size = spec.preprocessing.size
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    translate(model, example, path, spec.input_name, spec.output_name, {0: torch.export.Dim("n")}, spec.name)
    check_parity(model, path, spec)


def translate(
    model: nn.Module,
    example: Tensor,
    path: Path,
    input_name: str,
    output_name: str,
    free: Mapping[int, Any],
    name: str,
) -> None:
    """Write a network with one input and one output as an ONNX file; nothing is printed. Raises `EncoderError`.

    Args:
        example: an input.
        free: the axes of the input that may have any length.
        name: the encoder's, for messages.
    """
    model.eval()

    def trace() -> Any:
        return torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_shapes=(dict(free),),
        )

    try:
        with silence_exporter():
            try:
                program = trace()
            except (
                SystemError
            ):  # two threads that parse Python at a time: https://github.com/python/cpython/issues/106905
                program = trace()
            program.save(path, external_data=False)
    except Exception as error:  # the exporter may raise anything
        raise EncoderError(f"{name} cannot be exported to ONNX: {error}") from error


@contextlib.contextmanager
def silence_exporter() -> Iterator[None]:
    """Silence the exporter: it prints progress, warns of its own deprecations, and logs through several loggers."""
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


@cache
def read_pictures() -> tuple[bytes, ...]:
    """Return the photographs and drawings that come with Lookalike; the README beside them names their origins."""
    folder = resources.files(__package__).joinpath(_PICTURES)
    files = sorted((file for file in folder.iterdir() if file.name.endswith(_SUFFIXES)), key=lambda file: file.name)
    return tuple(file.read_bytes() for file in files)


def check_parity(model: nn.Module, path: Path, spec: EncoderSpec) -> float:
    """Compare torch and ONNX Runtime on real pictures, one and several at a time; return the least cosine.

    Raises `EncoderError` below 0.999, for vectors that are not finite, and for a model with a fixed batch size.
    """
    encoder = OnnxEncoder(path, spec, threads=1)
    batch = np.stack([encoder.prepare(picture) for picture in read_pictures()])
    expected = encoder.finish(run_torch(model, batch))
    found = [encoder.infer(batch[:1]), _infer(encoder, batch[1:])]
    cosines = (expected * encoder.finish(np.concatenate(found))).sum(axis=1)
    least = float(cosines.min())
    if not least >= PARITY:
        raise EncoderError(f"{spec.name}: the exported model differs from torch (cosine {least:.5f}, needs {PARITY})")
    return least


def measure_least_cosine(one: Encoder, other: Encoder) -> float:
    """Return the least cosine between two encoders' vectors of a real picture; NaN where there is none."""
    batch = np.stack([one.prepare(picture) for picture in read_pictures()])
    vectors = [encoder.finish(encoder.infer(batch)) for encoder in (one, other)]
    return float((vectors[0] * vectors[1]).sum(axis=1).min())


def run_torch(model: nn.Module, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a model with torch: uint8 (n, size, size, 3) to float32 (n, d)."""
    model.eval()
    with torch.inference_mode():
        return np.asarray(model(torch.from_numpy(batch)).numpy(), dtype=np.float32)


def _infer(encoder: OnnxEncoder, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    try:
        return encoder.infer(batch)
    except Exception as error:  # ONNX Runtime's own classes share no base
        raise EncoderError(
            f"{encoder.spec.name}: the exported model takes no batch of {len(batch)}: {error}"
        ) from error
