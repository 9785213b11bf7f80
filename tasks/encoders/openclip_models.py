"""Every model of open_clip as an encoder: its image tower, and its text tower beside it where we have its tokenizer.

After Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import open_clip
from torch import Tensor, nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.library import LibraryEncoder, Look, compute_digest, fill, make_look
from lookalike.tasks.encoders.openclip_texts import TOWERS, OpenClipTexts, reads_byte_pairs

_DEFAULT_SIZE = 224
_DEFAULT_INTERPOLATION = "bicubic"


def list_models() -> list[str]:
    """Return the names of open_clip's models, each with the tag of its weights, sorted."""
    return sorted(f"{model}/{tag}" for model, tag in open_clip.list_pretrained())


class OpenClipEncoder(LibraryEncoder):
    """Source of `openclip:MODEL/TAG` with open_clip's weights, and of `openclip:MODEL[/TAG]@FILE` with a state dict.

    The file holds the whole model, both towers. The tag says how the weights want their pictures, and with which
    activation they were trained.
    """

    family = "openclip"
    pooling = "image tower"

    def __init__(self, model: str, weights: str | None = None) -> None:
        self._architecture, _, self._tag = model.partition("/")
        self._check(weights)
        super().__init__(model, weights)

    def own_weights(self) -> str:
        """Return the digest of the weights, which are downloaded for it. Raises `EncoderError`."""
        return compute_digest(self._clip)

    def look(self) -> Look:
        """Return how model and weights want their pictures. Raises `EncoderError` where these are not square."""
        size = self._config["vision_cfg"].get("image_size", _DEFAULT_SIZE)
        if not isinstance(size, int):
            raise EncoderError(f"{self.name} takes pictures of {size}; only squares can be had")
        wanted = self._wanted
        return make_look(
            size,
            wanted.get("interpolation") or _DEFAULT_INTERPOLATION,
            wanted.get("mean") or open_clip.OPENAI_DATASET_MEAN,
            wanted.get("std") or open_clip.OPENAI_DATASET_STD,
        )

    def departures(self) -> dict[str, Any]:
        """Return the activation, where the weights want another one than the model has, and that there are two towers.

        A fingerprint is that of both: vectors of texts and of pictures are compared.
        """
        differs = self._wants_quick_gelu and not self._config.get("quick_gelu")
        activation = {"activation": "quick_gelu"} if differs else {}
        return activation | ({"towers": TOWERS} if reads_byte_pairs(self._config) else {})

    def backbone(self) -> nn.Module:
        """Return the image tower: float32 (n, 3, size, size) to (n, d). Raises `EncoderError`."""
        return ImageTower(self._clip)

    def text_tower(self) -> OpenClipTexts | None:
        """Return what encodes texts into the pictures' space; None where the tokenizer is not CLIP's own.

        Raises `EncoderError` where the weights cannot be had.
        """
        if not reads_byte_pairs(self._config):
            return None
        name = f"{self.family}:{self.model}"
        licence = None if self.weights else self.licence()
        return OpenClipTexts(name, self.fingerprint(), self._clip, self._config, licence)

    @property
    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = open_clip.get_model_config(self._architecture)
        return config

    @property
    def _wanted(self) -> dict[str, Any]:
        """What open_clip knows of the tag's weights."""
        return open_clip.get_pretrained_cfg(self._architecture, self._tag) or {}

    @property
    def _wants_quick_gelu(self) -> bool:
        """Whether the tag's weights need QuickGELU; without a word from the tag, the model decides."""
        return bool(self._wanted.get("quick_gelu"))

    def _check(self, weights: str | None) -> None:
        known = open_clip.list_models()
        if self._architecture not in known:
            raise EncoderError(f"open_clip has no model {self._architecture!r}; there are {', '.join(known)}")
        tags = open_clip.list_pretrained_tags_by_model(self._architecture)
        if self._tag not in tags and (self._tag or weights is None):
            ways = [f"openclip:{self._architecture}/{tag}" for tag in tags] + [f"openclip:{self._architecture}@FILE"]
            raise EncoderError(f"say which weights: {', '.join(ways)}")

    @cached_property
    def _clip(self) -> nn.Module:
        tag = None if self.weights else self._tag
        try:
            model: nn.Module = open_clip.create_model(
                self._architecture,
                pretrained=tag,
                force_quick_gelu=self._wants_quick_gelu,  # open_clip warns where the model has another, and goes on
                pretrained_image=False,
                pretrained_text=False,
                weights_only=True,
            )
        except Exception as error:  # what a failed download raises depends on how it failed
            raise EncoderError(f"open_clip's {self.model} cannot be had: {error}") from error
        if self.weights is not None:
            fill(model, self.weights.state(), self.name)
        return model


class ImageTower(nn.Module):
    """The image tower of an open_clip model: float32 (n, 3, size, size) to (n, d)."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.visual: nn.Module = clip.visual

    def forward(self, planes: Tensor) -> Tensor:
        """Pool and project into the space that pictures and texts share."""
        features: Tensor | tuple[Tensor, ...] = self.visual(planes)
        return features if isinstance(features, Tensor) else features[0]
