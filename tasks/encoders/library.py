"""Encoders whose network comes from a library of models: the common part of torchvision's, timm's and open_clip's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import export
from lookalike.tasks.encoders.base import EncoderSpec
from lookalike.tasks.encoders.export import FromPixels
from lookalike.tasks.encoders.fingerprints import EXPORT_VERSION, fingerprint
from lookalike.tasks.encoders.weights import WeightsFile
from lookalike.tasks.images.preprocessing import Preprocessing

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos")


@dataclass(frozen=True, slots=True)
class Look:
    """How a network wants its pictures: fitted, then normalised by `mean` and `std` of channel values of 0 to 1."""

    preprocessing: Preprocessing
    mean: tuple[float, ...]
    std: tuple[float, ...]


def make_look(size: int, interpolation: str, mean: tuple[float, ...], std: tuple[float, ...]) -> Look:
    """Return how a library's weights want their pictures, but without cropping.

    The edge of a product picture shows a part of the product. Interpolations that are not in INTERPOLATIONS become
    bilinear.
    """
    known = interpolation if interpolation in INTERPOLATIONS else "bilinear"
    fit = Preprocessing.model_validate({"size": size, "interpolation": known})
    return Look(fit, tuple(mean), tuple(std))


class LibraryEncoder(ABC):
    """Source of `FAMILY:MODEL` with the library's own weights, and of `FAMILY:MODEL@FILE` with a state dict.

    The vector is the input of the layer that names classes, so a file of weights may be trained for any number of
    classes.
    """

    family: ClassVar[str]
    pooling: ClassVar[str]

    def __init__(self, model: str, weights: str | None = None) -> None:
        self.model = model
        self.weights = WeightsFile(weights) if weights else None

    @property
    def name(self) -> str:
        """The name under which the registry finds it."""
        return f"{self.family}:{self.model}" + (f"@{self.weights.reference}" if self.weights else "")

    def fingerprint(self) -> str:
        """Return sixteen hex digits over the weights and how they are used. Raises `EncoderError`."""
        return fingerprint(
            weights=self.weights.digest() if self.weights else self.own_weights(),
            preprocessing=self.look().preprocessing,
            pooling=self.pooling,
            version=EXPORT_VERSION,
            model=self.model,
            **self.departures(),
        )

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` into an existing directory and describe it. Raises `EncoderError`."""
        fit = self.look().preprocessing
        model = self.network()
        spec = EncoderSpec(
            name=f"{self.family}:{self.model}",
            fingerprint=self.fingerprint(),
            dimension=_measure_dimension(model.backbone, fit.size, self.name),
            preprocessing=fit,
            pooling=self.pooling,
            licence=None if self.weights else self.licence(),
        )
        export.export(model, spec, directory)
        return spec

    def network(self) -> FromPixels:
        """Return the network to export: uint8 (n, size, size, 3) to float32 (n, d). Raises `EncoderError`."""
        shown = self.look()
        return FromPixels(self.backbone(), shown.mean, shown.std)

    def departures(self) -> dict[str, Any]:
        """Return in what the network departs from the model that its name means; part of the fingerprint."""
        return {}

    def licence(self) -> str | None:
        """Return the licence of the library's own weights, None where the library names none."""
        return None

    @abstractmethod
    def own_weights(self) -> str:
        """Return a text that changes when the library's own weights do. Raises `EncoderError`."""

    @abstractmethod
    def look(self) -> Look:
        """Return how the network wants its pictures; must be cheap. Raises `EncoderError`."""

    @abstractmethod
    def backbone(self) -> nn.Module:
        """Return the network with its weights: float32 (n, 3, size, size) to (n, d). Raises `EncoderError`."""


def _measure_dimension(backbone: nn.Module, size: int, name: str) -> int:
    """Return the length of the vectors. Raises `EncoderError` for a network that gives maps or tokens instead."""
    with torch.inference_mode():
        found = backbone.eval()(torch.zeros(1, 3, size, size))
    shape = tuple(found.shape[1:]) if isinstance(found, Tensor) else ()
    if not shape or any(side != 1 for side in shape[1:]):
        gives = " by ".join(map(str, shape)) or type(found).__name__
        raise EncoderError(f"{name} gives no vector for a picture, but {gives}: choose a model that pools what it sees")
    return shape[0]
