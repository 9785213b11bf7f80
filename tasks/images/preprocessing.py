"""From a decoded picture to the pixels that an encoder takes: one implementation for batch and query alike."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator

from lookalike.tasks.images.decode import DEFAULT_LIMITS, ImageLimits, decode_with_alpha

Channel = Annotated[int, Field(ge=0, le=255)]

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Large pictures are first averaged down to at least this many times the wanted size, in a fraction of the time.
_REDUCING_GAP = 2.0


class Preprocessing(BaseModel):
    """How a picture becomes (size, size, 3) pixels. Plain data: it travels with the model in the snapshot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    """Of `prepare`: a change there that changes pixels is a new version, so that old vectors are not mixed with new."""
    size: Annotated[int, Field(ge=8, le=2048)] = 224
    """Side of the square in pixels."""
    fit: Literal["pad", "stretch", "crop"] = "pad"
    """`pad` keeps all of the picture and its shape, `stretch` all of it, `crop` the middle and its shape."""
    crop_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """For `crop`: how much of the shorter side is kept."""
    interpolation: Literal["bilinear", "bicubic", "lanczos"] = "bicubic"
    background: tuple[Channel, Channel, Channel] = (255, 255, 255)
    """For `pad`: the colour around the picture."""

    @field_validator("version", mode="before")
    @classmethod
    def _fold_version(cls, given: Any) -> Any:
        """Before the first release, 2 and 3 were other names of what is 1 now; encoders in stores still say so."""
        return 1 if given in (2, 3) else given

    def identity(self) -> dict[str, Any]:
        """Return what a fingerprint is made of.

        It says 2, or 3 for a crop, as it did before the first release: so the embeddings of that time are kept.
        """
        crops = self.fit == "crop" and self.crop_share != 1.0
        return {**self.model_dump(mode="json"), "version": 3 if crops else 2}


def needed(spec: Preprocessing) -> int:
    """How many pixels the sides of a picture must have, so that what is kept of it fills the square."""
    share = spec.crop_share if spec.fit == "crop" else 1.0
    return math.ceil(spec.size / share)


def prepare(spec: Preprocessing, image: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Decode one picture and fit it into uint8 (size, size, 3). Raises `ImageRejectedError`."""
    return apply(spec, decode_for(spec, image, limits)[0])


def decode_for(
    spec: Preprocessing, image: bytes, limits: ImageLimits = DEFAULT_LIMITS
) -> tuple[Image.Image, Image.Image | None]:
    """Decode one picture, with the pixels that `apply` needs, and its alpha channel as `decode_with_alpha` does.

    Raises `ImageRejectedError`.
    """
    return decode_with_alpha(image, limits=limits, target=needed(spec))


def apply(spec: Preprocessing, image: Image.Image) -> NDArray[np.uint8]:
    """Fit an RGB picture into uint8 (size, size, 3)."""
    fitted = _FITS[spec.fit](spec, image)
    return np.array(fitted, dtype=np.uint8)  # a copy, so that it can be written to and the picture can go


def _pad(spec: Preprocessing, image: Image.Image) -> Image.Image:
    scale = spec.size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    resized = _resize(spec, image, (width, height))
    if width == height:
        return resized
    canvas = Image.new("RGB", (spec.size, spec.size), spec.background)
    canvas.paste(resized, ((spec.size - width) // 2, (spec.size - height) // 2))
    return canvas


def _stretch(spec: Preprocessing, image: Image.Image) -> Image.Image:
    return _resize(spec, image, (spec.size, spec.size))


def _crop(spec: Preprocessing, image: Image.Image) -> Image.Image:
    side = min(image.size) * spec.crop_share
    left, top = ((length - side) / 2 for length in image.size)
    return _resize(spec, image, (spec.size, spec.size), (left, top, left + side, top + side))


def _resize(
    spec: Preprocessing,
    image: Image.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    return image.resize(size, _RESAMPLING[spec.interpolation], box=box, reducing_gap=_REDUCING_GAP)


_FITS = {"pad": _pad, "stretch": _stretch, "crop": _crop}
