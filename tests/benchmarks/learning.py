"""Projections that are learnt from distorted copies, as a reindex learns them, for benchmarks.

Copies are made by the product's augmentations, of pictures that no query shows. To see how much the projection owes to
augmentations that are like a distortion that it is tested with, it is learnt without those as well (`ALIKE`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection
from functools import partial

import numpy as np

from lookalike.tasks.embed.distorted import count_distorted
from lookalike.tasks.images.augmentations import AUGMENTATIONS, VERSION, augment, shrink
from lookalike.tasks.images.decode import decode
from tests.benchmarks.embedded import Bench, Embedded, Pictures, Vectors

ALIKE: dict[str, tuple[str, ...]] = {
    "crop": ("crop",),
    "turn": ("turn", "perspective"),
    "mirror": ("mirror",),
    "light": ("light", "cast"),
    "blur": ("blur", "scale"),
    "noise": ("noise",),
    "jpeg": ("recompress", "scale"),
    "background": ("ground", "margins"),
    "overlay": ("overlay",),
    "screenshot": ("screenshot", "margins"),
    "photo": ("crop", "turn", "perspective", "light", "cast", "recompress"),
}
"""For each distortion of `distortions.py`, the augmentations that do something like it."""


class Copies:
    """Distorted copies of some pictures, and the pictures themselves, embedded."""

    def __init__(self, bench: Bench, pictures: Pictures) -> None:
        """Embed them, or find them embedded."""
        self._originals = bench.catalogue(pictures, "plain")
        self._copies = {
            name: bench.copies(pictures, f"augmentation {name} {VERSION}", partial(augmented, name=name))
            for name in AUGMENTATIONS
        }

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return len(self._originals.keys)

    def differences(self, without: Collection[str] = ()) -> Vectors:
        """Return the (m, d) vectors of copies minus those of the pictures, without those of some augmentations."""
        parts = [_subtract(copies, self._originals) for name, copies in self._copies.items() if name not in without]
        return np.concatenate(parts)


def choose_others(pictures: Pictures, asked: Pictures, most: int) -> Pictures:
    """Return pictures to learn from, as many as a reindex takes, without those that are asked for."""
    others = sorted(set(pictures.files) - set(asked.files))
    chosen = others[: count_distorted(len(pictures.files), most)]
    return Pictures({key: pictures.files[key] for key in chosen})


def augmented(data: bytes, name: str) -> bytes:
    """Return a picture under the augmentation of this name, as a BMP."""
    image = augment(shrink(decode(data)), hashlib.sha256(data).digest(), name)
    buffer = io.BytesIO()
    image.save(buffer, "BMP")
    return buffer.getvalue()


def _subtract(copies: Embedded, originals: Embedded) -> Vectors:
    rows = {key: row for row, key in enumerate(originals.keys)}
    there = copies.among(rows)
    return there.vectors - originals.vectors[[rows[key] for key in there.keys]]
