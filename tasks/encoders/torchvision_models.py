"""Every classification model of torchvision as an encoder: the features before the layer that names classes."""

from __future__ import annotations

import re

import torchvision
from torch import nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.library import LibraryEncoder, Look, State, fill, make_look, rename_keys

# these two build parts that only training needs, and normalise their input again
_WITH_TRAINING_PARTS = {"googlenet", "inception_v3"}
_TRAINING_PARTS = ("aux1.", "aux2.", "AuxLogits.")
# torchvision's own weights of DenseNet still have names with dots: norm.1, which is now norm1
_OLD_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def list_models() -> list[str]:
    """Return the names of torchvision's classification models, sorted."""
    return sorted(torchvision.models.list_models(module=torchvision.models))


class TorchvisionEncoder(LibraryEncoder):
    """Source of `torchvision:MODEL`, with torchvision's default weights or a state dict from a path or URL."""

    family = "torchvision"
    pooling = "model"

    def __init__(self, model: str, weights: str | None = None) -> None:
        if model not in list_models():
            raise EncoderError(f"torchvision has no model {model!r}; there are {', '.join(list_models())}")
        super().__init__(model, weights)
        self._default = torchvision.models.get_model_weights(model).DEFAULT

    def own_weights(self) -> str:
        """Return the address of the weights, which contains their digest; nothing is downloaded."""
        return str(self._default.url)

    def look(self) -> Look:
        """Return how the default weights want their pictures."""
        wanted = self._default.transforms()
        return make_look(wanted.crop_size[0], wanted.interpolation.value, wanted.mean, wanted.std)

    def backbone(self) -> nn.Module:
        """Return the network without the layer that names classes. Raises `EncoderError`."""
        network = _create_network(self.model, self.look().preprocessing.size)
        _cut_head(network)
        state = rename_keys(self._load_state(), lambda name: _OLD_NAME.sub(r"\1\2", name))
        fill(network, state, self.model, optional=_TRAINING_PARTS)
        return network

    def _load_state(self) -> State:
        if self.weights is not None:
            return self.weights.state()
        try:
            state: State = self._default.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except Exception as error:  # what a failed download raises depends on how it failed
            raise EncoderError(f"torchvision's weights of {self.model} cannot be had: {error}") from error
        return state


def _create_network(model: str, size: int) -> nn.Module:
    more: dict[str, int] = {"init_weights": False, "transform_input": True} if model in _WITH_TRAINING_PARTS else {}
    if model.startswith("vit_"):  # their weights hold a position for each patch of a picture of one size
        more = {"image_size": size}
    network: nn.Module = torchvision.models.get_model(model, weights=None, **more)
    return network


def _cut_head(network: nn.Module) -> None:
    """Replace the last layer that has weights, which names the classes, by the identity."""
    layers: list[str] = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and not name.startswith(_TRAINING_PARTS)
    ]
    parent, _, attribute = layers[-1].rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
