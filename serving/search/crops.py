"""Crops: the part of a picture that a query is about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.data.errors import ImageRejectedError
from lookalike.serving.errors import ProblemError
from lookalike.tasks.encoders.base import Encoder
from lookalike.tasks.images import preprocessing
from lookalike.tasks.images.decode import DEFAULT_LIMITS, ImageLimits, decode


@dataclass(frozen=True, slots=True)
class Crop:
    """A box in fractions of a picture that stands upright, from its left and its top."""

    left: float
    top: float
    right: float
    bottom: float

    def cut(self, picture: Image.Image) -> Image.Image:
        """Return what is inside of the box, in whole pixels. Raises `ImageRejectedError` where that is too little."""
        width, height = picture.size
        left, top = math.floor(self.left * width), math.floor(self.top * height)
        right, bottom = math.ceil(self.right * width), math.ceil(self.bottom * height)
        if min(right - left, bottom - top) < DEFAULT_LIMITS.min_side:
            message = f"the crop leaves {right - left}x{bottom - top} of {width}x{height} pixels"
            raise ImageRejectedError("too_small", message)
        return picture.crop((left, top, right, bottom))


def make_crop(numbers: Sequence[float]) -> Crop:
    """Return a crop box. Raises `ProblemError`."""
    if len(numbers) != 4:
        raise _bad(f"`crop` has {len(numbers)} numbers: send left, top, right and bottom")
    crop = Crop(*numbers)
    if not (0 <= crop.left < crop.right <= 1 and 0 <= crop.top < crop.bottom <= 1):
        raise _bad("`crop` must be fractions from 0 to 1, with left < right and top < bottom")
    return crop


def parse_crop(text: str) -> Crop | None:
    """Return the crop box in `left,top,right,bottom`, None where there is no text. Raises `ProblemError`."""
    if not text.strip():
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise _bad(f"`crop` is {text[:40]!r}: send four numbers with commas between them") from error
    return make_crop(numbers)


def prepare(encoder: Encoder, image: bytes, crop: Crop | None, limits: ImageLimits) -> NDArray[np.uint8]:
    """Decode one picture and fit what the crop leaves for an encoder: uint8 (size, size, 3).

    Raises `ImageRejectedError`.
    """
    if crop is None:
        return encoder.prepare(image, limits)
    fit = encoder.spec.preprocessing
    # The part must have the pixels that a whole picture would have: so much more of the whole is decoded.
    enlarged = preprocessing.needed(fit) / min(crop.right - crop.left, crop.bottom - crop.top)
    picture = decode(image, limits=limits, target=math.ceil(min(enlarged, limits.max_pixels)))
    return preprocessing.apply(fit, crop.cut(picture))


def _bad(detail: str) -> ProblemError:
    return ProblemError("bad_crop", f"{detail}.")
