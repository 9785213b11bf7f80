"""The colours of a picture: how much of what it shows has each of the eleven basic colours.

What it shows is its foreground: neither transparent pixels count, nor a plain ground that reaches the edges. Each pixel
takes the name of the nearest of some well-known colours, in OKLab (Björn Ottosson, "A perceptual color space for image
processing", 2020), where distances are about as large as people see them. People gave these colours their names in the
survey of xkcd (Randall Munroe, "Color survey results", 2010, CC0). That few names are enough for the pixels of
photographs is known from van de Weijer et al., "Learning color names for real-world applications", 2009.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.data.snapshots.colours import COLOURS, WHOLE, Shares
from lookalike.tasks.images.decode import ALPHA_SIDE

SIDE = ALPHA_SIDE
"""Pixels of each side that are looked at: single ones, because a mean of two colours is often a third one."""

# of the survey: a basic colour alone, with one word such as dark, light or dull, and some that have names of their own;
# greys, black and white are denser here, for the survey asked for few of them
NAMED = {
    "black": "000000 1c1c1c",
    "white": "ffffff f2f2f2",
    "red": "e50000 ff000d ff474c db5856 d9544d d3494e bb3f3f b9484e 9a0200 8f1402 840000",
    "green": "15b01a 01ff07 39ad48 96f97b b0ff9d c7fdb5 6fc276 7bb274 76a973 74a662 5fa052 02590f 033500 677a04 667e2c "
    "4b5d16",
    "yellow": "ffff14 fffd01 ffff84 fffe7a fffe71 feff7f eedc5b d5b60a",
    "blue": "0343df 0165fc 2c6fbb 75bbfd 95d0fc a2bffe d0fefe 6488ea 658cbb 5a86ad 49759c 3b719f 5a7d9a 040273 00035b "
    "001146",
    "brown": "653700 7f5112 ad8150 b1916e 876e4b 410200 411900 341c02",
    "purple": "7e1e9c 9e43a2 be03fd bf77f6 caa0ff b790d4 a66fb5 916e99 84597e 825f87 805b87 36013f 35063e",
    "pink": "ff81c0 fe01b1 ff028d f36196 ffd1df ffcfdc ffbacd fdb0c0 de9dac d5869d d58a94 d1768f cb416b cb0162",
    "orange": "f97306 ff5b00 fdaa48 ff964f ffa756 f0944d f0833a d8863b dc4d01 c65102 c04e01",
    "grey": "929591 7d7f7c b4b4b4 d8dcd6 585858 363737 3c4142 59656d",
}
_BITS = 5  # of each channel that a name depends on
_OPAQUE = 250  # of 255: the edge of something transparent is mixed with white
_PLAIN = 0.6  # of the edges have about the same colour, where the ground is plain
_LIKE_GROUND = 20  # of 255 in each channel: light falls off, and JPEG changes pixels
_ALIKE = 6  # as much as that, and a pixel in the middle is ground, too, such as in a ring
_LEAST = 0.02  # of the pixels are in front: else what looks like ground is all there is

Pixels = NDArray[np.int16]
"""Colours of sRGB, from 0 to 255, a plane for each channel."""
Mask = NDArray[np.bool_]


def measure_colours(image: Image.Image, alpha: Image.Image | None = None) -> Shares:
    """Return the (colours,) shares of an RGB picture, which add up to about `WHOLE`; all 0 where nothing is seen.

    `alpha` has (`SIDE`, `SIDE`) pixels, as `decode_with_alpha` returns it.
    """
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.NEAREST))
    pixels = np.ascontiguousarray(small.transpose(2, 0, 1)).astype(np.int16)  # whole planes: ten times as fast
    opaque = np.ones((SIDE, SIDE), bool) if alpha is None else np.asarray(alpha) >= _OPAQUE
    counts = np.bincount(name_pixels(pixels)[find_foreground(pixels, opaque)], minlength=len(COLOURS))
    shares: Shares = np.rint(counts * (WHOLE / max(1, counts.sum()))).astype(np.uint8)
    return shares


def name_pixels(pixels: Pixels) -> NDArray[np.uint8]:
    """Return the place in `COLOURS` of each of (3, …) pixels."""
    red, green, blue = pixels >> (8 - _BITS)
    names: NDArray[np.uint8] = _list_names()[(red << 2 * _BITS) | (green << _BITS) | blue]
    return names


def find_foreground(pixels: Pixels, opaque: Mask) -> Mask:
    """Return a mask (height, width) of (3, height, width) pixels that show something; `opaque` is one of the opaque."""
    edges = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, 1:-1, 0], pixels[:, 1:-1, -1]], axis=1)
    ground = np.median(edges, axis=1).astype(np.int16)
    if (_measure_distances(edges, ground) <= _LIKE_GROUND).mean() < _PLAIN or not _is_opaque_at_edges(opaque):
        return opaque
    distances = _measure_distances(pixels, ground)
    foreground = opaque & ~(_see_from_edges(distances <= _LIKE_GROUND) | (distances <= _ALIKE))
    return foreground if foreground.mean() >= _LEAST else opaque


def _is_opaque_at_edges(opaque: Mask) -> bool:
    edges = np.concatenate([opaque[0], opaque[-1], opaque[1:-1, 0], opaque[1:-1, -1]])
    return bool(edges.mean() >= _PLAIN)


def _measure_distances(pixels: Pixels, ground: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return how far each of (3, …) pixels is from a colour (3,), in the channel in which it is farthest."""
    red, green, blue = (np.abs(plane - value) for plane, value in zip(pixels, ground, strict=True))
    farthest: NDArray[np.int16] = np.maximum(np.maximum(red, green), blue)
    return farthest


def _see_from_edges(open_: Mask) -> Mask:
    """Return a mask of the open pixels that can be seen from an edge, straight over open pixels."""
    seen = np.zeros_like(open_)
    for axis in (0, 1):
        seen |= np.logical_and.accumulate(open_, axis=axis)
        seen |= np.flip(np.logical_and.accumulate(np.flip(open_, axis), axis=axis), axis)
    return seen


@cache
def _list_names() -> NDArray[np.uint8]:
    """Return the place in `COLOURS` of each colour, of `_BITS` bits a channel."""
    steps = np.arange(2**_BITS)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    middles = to_oklab((grid + 0.5) * 2 ** (8 - _BITS))
    named = [(COLOURS.index(name), code) for name, codes in NAMED.items() for code in codes.split()]
    known = to_oklab(np.array([list(bytes.fromhex(code)) for _, code in named], np.float64))
    # |a - b|² without |a|², which is the same for all names
    distances = (known**2).sum(axis=1) - 2 * middles @ known.T
    names: NDArray[np.uint8] = np.array([place for place, _ in named], np.uint8)[distances.argmin(axis=1)]
    return names


def to_oklab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 3) colours of sRGB, from 0 to 255, in OKLab."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    opponents = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    lab: NDArray[np.float64] = np.cbrt(linear @ cones.T) @ opponents.T
    return lab
