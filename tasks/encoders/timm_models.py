"""Every model of timm as an encoder: the pooled features before the layer that names classes."""

from __future__ import annotations

import difflib
from functools import cached_property

import timm
from timm.models import PretrainedCfg, get_pretrained_cfg
from torch import nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.library import LibraryEncoder, Look, compute_digest, fill, make_look


def list_models() -> list[str]:
    """Return the names of timm's models, each with the tag of its weights, sorted."""
    return sorted(timm.list_models(pretrained=True))


class TimmEncoder(LibraryEncoder):
    """Source of `timm:MODEL` or `timm:MODEL.TAG`, with timm's weights of that tag or a state dict from a path or URL.

    timm's weights come from its hub, as safetensors where these exist, else loaded with `weights_only=True`.
    The tag also says how the network wants its pictures.
    """

    family = "timm"
    pooling = "timm"

    def __init__(self, model: str, weights: str | None = None) -> None:
        self._settings = _find_settings(model)
        super().__init__(model, weights)

    def own_weights(self) -> str:
        """Return the digest of the weights, which are downloaded for it. Raises `EncoderError`."""
        return compute_digest(self._own)

    def look(self) -> Look:
        """Return how the weights want their pictures. Raises `EncoderError` where these are not square."""
        _, height, width = self._settings.input_size
        if height != width:
            raise EncoderError(f"{self.name} takes pictures of {width} by {height}; only squares can be had")
        return make_look(height, self._settings.interpolation, self._settings.mean, self._settings.std)

    def licence(self) -> str | None:
        return self._settings.license

    def backbone(self) -> nn.Module:
        """Return the network without the layer that names classes. Raises `EncoderError`."""
        if self.weights is None:
            return self._own
        network = timm.create_model(self.model, pretrained=False, num_classes=0)
        fill(network, self.weights.state(), self.name)
        return network

    @cached_property
    def _own(self) -> nn.Module:
        try:
            return timm.create_model(self.model, pretrained=True, num_classes=0)
        except Exception as error:  # what a failed download raises depends on how it failed
            raise EncoderError(f"timm's weights of {self.model} cannot be had: {error}") from error


def _find_settings(model: str) -> PretrainedCfg:
    """Return what timm knows of a model, without building it. Raises `EncoderError` for an unknown model."""
    try:
        settings = get_pretrained_cfg(model) if timm.is_model(model) else None
    except RuntimeError as error:
        raise EncoderError(f"timm has no weights {model!r}: {error}") from error
    if settings is None:
        close = difflib.get_close_matches(model, timm.list_models(), n=5, cutoff=0.4)
        raise EncoderError(f"timm has no model {model!r}; close to it are {', '.join(close) or 'none'}")
    return settings
