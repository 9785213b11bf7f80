"""Differences: what distortions change in the vectors of pictures, for the projection to be learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lookalike.data.embeddings import DISTORTED, Embeddings, among
from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import ObjectStore
from lookalike.tasks.images.augmentations import AUGMENTATIONS, name_copy
from lookalike.tasks.search.projection import Vectors

LOST = "the store lost vectors of distorted copies: run again to embed them"


def read_differences(store: ObjectStore, encoder: EncoderSection, pictures: Sequence[bytes]) -> Vectors:
    """Return the (m, d) vectors of the distorted copies of pictures minus those of the pictures, in a fixed order.

    Copies in which the encoder saw nothing are left out. Raises `CorruptError` where one was never embedded.
    """
    hashes = np.array(sorted(pictures), "V32")
    originals = Embeddings(store, encoder.fingerprint).lookup(hashes).astype(np.float32)
    names = np.array([[name_copy(bytes(one), name) for name in AUGMENTATIONS] for one in hashes], "V32")
    known, vectors = Embeddings(store, encoder.fingerprint, DISTORTED).read(wanted=np.sort(names.ravel()))
    if not among(names.ravel(), known).all():
        raise CorruptError(LOST)
    copies = vectors[np.searchsorted(known, names)].astype(np.float32)
    return (copies - originals[:, None])[copies.any(axis=2)]
