"""Sharpness: how steep the steepest edges of a picture are."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 512
"""Pixels of the longer side to which a picture is reduced first: what is blurred only beyond that, nobody sees."""
BLURRED = 0.2
"""Below this, a picture is blurred. Sharp photos reach 0.27 to 1; blurred by two pixels, they stay below 0.23."""
_STEEPEST = 99.8  # percent of the steps from pixel to pixel are less steep


def measure_sharpness(image: Image.Image) -> float:
    """Return the height of the steepest steps between neighbouring pixels, as a share of the picture's contrast.

    An edge that takes one pixel has about 1; blur spreads it over several. A picture of one colour has 0.
    """
    grey = image.convert("L")
    grey.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(grey, np.float32)
    steps = np.concatenate([np.abs(np.diff(pixels, axis=axis)).ravel() for axis in (0, 1)])
    low, high = np.percentile(pixels, [1, 99])
    if not len(steps) or high - low < 1:
        return 0.0
    return float(min(np.percentile(steps, _STEEPEST) / (high - low), 1.0))
