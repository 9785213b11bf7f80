"""Every classification model of torchvision as an encoder: what it sees just before it names a class."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import fsspec
import torch
import torchvision
from torch import Tensor, nn

from data.errors import EncoderError
from tasks.encoders import export
from tasks.encoders.base import EncoderSpec
from tasks.encoders.fingerprints import EXPORT_VERSION, fingerprint
from tasks.encoders.preprocessing import Preprocessing

# These two build parts that only training needs, and normalise once more inside.
_WITH_TRAINING_PARTS = {"googlenet", "inception_v3"}
_INTERPOLATIONS = ("bilinear", "bicubic", "lanczos")
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PARALLEL_PREFIX = "module."
_POOLING = "model"


class TorchvisionEncoder:
    """Source of `torchvision:MODEL`, with torchvision's default weights or a state dict from a path or URL.

    The vector is the input of the layer that names the classes, so a file of weights may be trained for any
    number of classes. Pictures are fitted as torchvision's own weights ask for, but never cropped: what stands
    at the edge of a product picture is part of the product.
    """

    def __init__(self, model: str, weights: str | None = None) -> None:
        known = torchvision.models.list_models(module=torchvision.models)
        if model not in known:
            raise EncoderError(f"torchvision has no model {model!r}; there are {', '.join(sorted(known))}")
        self._model = model
        self._weights = weights
        self._default = torchvision.models.get_model_weights(model).DEFAULT

    @property
    def name(self) -> str:
        """The name under which the registry finds it."""
        return f"torchvision:{self._model}" + (f"@{self._weights}" if self._weights else "")

    def fingerprint(self) -> str:
        """Sixteen hex digits over the weights and how they are used.

        A file is read for it. torchvision's own weights are not downloaded: their address holds their digest.
        """
        weights = self._default.url if self._weights is None else hashlib.sha256(self._file).hexdigest()
        return fingerprint(
            weights=weights,
            preprocessing=self._preprocessing,
            pooling=_POOLING,
            version=EXPORT_VERSION,
            model=self._model,
        )

    def export(self, directory: Path) -> EncoderSpec:
        """Write `model.onnx` into an existing directory and describe it. Raises `EncoderError`."""
        transforms = self._default.transforms()
        model = export.FromPixels(self._backbone(), tuple(transforms.mean), tuple(transforms.std))
        spec = EncoderSpec(
            name=f"torchvision:{self._model}",
            fingerprint=self.fingerprint(),
            dimension=export.dimension(model, self._preprocessing.size),
            preprocessing=self._preprocessing,
            pooling=_POOLING,
        )
        export.export(model, spec, directory)
        return spec

    @property
    def _preprocessing(self) -> Preprocessing:
        transforms = self._default.transforms()
        interpolation = transforms.interpolation.value
        return Preprocessing(
            size=transforms.crop_size[0],
            interpolation=interpolation if interpolation in _INTERPOLATIONS else "bilinear",
        )

    @cached_property
    def _file(self) -> bytes:
        try:
            with fsspec.open(self._weights, "rb") as file:
                return cast("bytes", file.read())
        except (OSError, ValueError, ImportError) as error:
            raise EncoderError(f"weights {self._weights!r} cannot be read: {error}") from error

    def _backbone(self) -> nn.Module:
        more = {"init_weights": False, "transform_input": True} if self._model in _WITH_TRAINING_PARTS else {}
        network: nn.Module = torchvision.models.get_model(self._model, weights=None, **more)
        head = _cut_head(network)
        try:
            missing = network.load_state_dict(self._state(head), strict=False).missing_keys
        except (RuntimeError, OSError, ValueError) as error:
            raise EncoderError(f"the weights do not fit {self._model}: {error}") from error
        if missing := [key for key in missing if not _is_for_training(key)]:
            raise EncoderError(f"the weights do not fit {self._model}: no {', '.join(missing[:3])}, …")
        return network

    def _state(self, head: str) -> dict[str, Tensor]:
        """The weights without those of the head, which is cut off."""
        if self._weights is None:
            state = self._default.get_state_dict(progress=False, check_hash=True)
        else:
            state = _load(self._file, self._weights)
        state = {key.removeprefix(_PARALLEL_PREFIX): value for key, value in state.items()}
        return {key: value for key, value in state.items() if not key.startswith(f"{head}.")}


def _load(data: bytes, origin: str) -> Mapping[str, Tensor]:
    try:
        state: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no error of its own
        raise EncoderError(f"{origin!r} is not a file of weights that torch can load safely: {error}") from error
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise EncoderError(f"{origin!r} does not hold a state dict")
    return state


def _is_for_training(key: str) -> bool:
    return key.startswith(("aux1.", "aux2.", "AuxLogits."))


def _cut_head(network: nn.Module) -> str:
    """Replace the last layer with weights, which names the classes, by nothing; return its name."""
    layers: list[str] = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and not _is_for_training(name)
    ]
    name = layers[-1]
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    return name
