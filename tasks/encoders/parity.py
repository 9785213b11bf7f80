"""Prove that an exported model computes what torch does, on real pictures, before anything is made with it."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.base import Encoder, EncoderSpec
from lookalike.tasks.encoders.onnx import OnnxEncoder

PARITY = 0.999
"""The least cosine between torch's and ONNX Runtime's vector of a picture."""

_PICTURES = "pictures"
_SUFFIXES = (".jpg", ".png")


@cache
def pictures() -> tuple[bytes, ...]:
    """Photographs and drawings that come with Lookalike; their origins stand beside them."""
    folder = resources.files(__package__).joinpath(_PICTURES)
    files = sorted((file for file in folder.iterdir() if file.name.endswith(_SUFFIXES)), key=lambda file: file.name)
    return tuple(file.read_bytes() for file in files)


def check_parity(model: nn.Module, path: Path, spec: EncoderSpec) -> float:
    """Compare torch and ONNX Runtime on real pictures, one and several at a time; return the least cosine.

    Raises `EncoderError` below 0.999, for vectors that are not finite, and for a batch size frozen into the model.
    """
    encoder = OnnxEncoder(path, spec, threads=1)
    batch = np.stack([encoder.prepare(picture) for picture in pictures()])
    expected = encoder.finish(run(model, batch))
    found = [encoder.infer(batch[:1]), _infer(encoder, batch[1:])]
    cosines = (expected * encoder.finish(np.concatenate(found))).sum(axis=1)
    least = float(cosines.min())
    if not least >= PARITY:
        raise EncoderError(f"{spec.name}: the exported model differs from torch (cosine {least:.5f}, needs {PARITY})")
    return least


def least_cosine(one: Encoder, other: Encoder) -> float:
    """Return the least cosine between two encoders' vectors of a real picture; NaN where there is none."""
    batch = np.stack([one.prepare(picture) for picture in pictures()])
    vectors = [encoder.finish(encoder.infer(batch)) for encoder in (one, other)]
    return float((vectors[0] * vectors[1]).sum(axis=1).min())


def run(model: nn.Module, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What torch makes of uint8 (n, size, size, 3): float32 (n, d)."""
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
