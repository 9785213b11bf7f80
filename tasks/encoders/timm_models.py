"""Every model of timm as an encoder: the pooled features before the layer that names classes."""

from __future__ import annotations

import difflib
from functools import cached_property

import timm
from timm.models import PretrainedCfg, get_pretrained_cfg
from torch import nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.library import LibraryEncoder, Look, look
from lookalike.tasks.encoders.weights import digest_of, fill


def models() -> list[str]:
    """The names of timm's models with those of their weights, sorted."""
    return sorted(timm.list_models(pretrained=True))


class TimmEncoder(LibraryEncoder):
    """Source of `timm:MODEL` or `timm:MODEL.TAG`, with timm's weights of that tag or a state dict from a path or URL.

    timm's weights come from its hub, as safetensors where there are some, and through `weights_only=True` elsewhere.
    The tag also says how the network wants its pictures.
    """

    family = "timm"
    pooling = "timm"

    def __init__(self, model: str, weights: str | None = None) -> None:
        self._settings = _settings(model)
        super().__init__(model, weights)

    def own_weights(self) -> str:
        """Digest of the weights themselves, which are downloaded for it. Raises `EncoderError`."""
        return digest_of(self._own)

    def look(self) -> Look:
        """As the weights ask for. Raises `EncoderError` for a network whose pictures are no squares."""
        _, height, width = self._settings.input_size
        if height != width:
            raise EncoderError(f"{self.name} takes pictures of {width} by {height}; only squares can be had")
        return look(height, self._settings.interpolation, self._settings.mean, self._settings.std)

    def licence(self) -> str | None:
        """As timm has it."""
        return self._settings.license

    def backbone(self) -> nn.Module:
        """The network without the layer that names classes. Raises `EncoderError`."""
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


def _settings(model: str) -> PretrainedCfg:
    """What timm knows of a model without making it."""
    try:
        settings = get_pretrained_cfg(model) if timm.is_model(model) else None
    except RuntimeError as error:
        raise EncoderError(f"timm has no weights {model!r}: {error}") from error
    if settings is None:
        close = difflib.get_close_matches(model, timm.list_models(), n=5, cutoff=0.4)
        raise EncoderError(f"timm has no model {model!r}; close to it are {', '.join(close) or 'none'}")
    return settings
