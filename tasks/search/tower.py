"""The tower of texts: what puts a text into the space of the products' pictures, where their encoder can do that.

Pictures and texts of such an encoder lie in two narrow cones apart from each other: Liang et al., "Mind the gap:
understanding the modality gap in multi-modal contrastive representation learning", NeurIPS 2022. What lies between the
cones says nothing about a product. So each kind is centred on its own mean before both take the same map.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.manifest import EncoderSection, Manifest
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
from lookalike.tasks.search.meaning import open_mapped_encoder
from lookalike.tasks.search.projection import Projection, normalise

Vectors = NDArray[np.float32]


class TextTower:
    """An encoder of texts whose vectors can be compared with pictures. Safe to use from many threads at once.

    `projection` is that of the pictures, and `centre` the (encoder dimension,) mean of texts; both are None where the
    index holds vectors as the encoder made them.
    """

    def __init__(
        self,
        section: EncoderSection,
        encoder: OnnxTextEncoder,
        projection: Projection | None,
        centre: Vectors | None,
    ) -> None:
        self.section = section
        self.encoder = encoder
        self._projection = projection
        self._centre = centre

    @classmethod
    def open(
        cls,
        manifest: Manifest,
        files: Mapping[Blob, Path],
        projection: Projection | None,
        *,
        threads: int,
        previous: TextTower | None = None,
    ) -> TextTower | None:
        """Open the tower of a snapshot, warmed up; None where its encoder has none. Raises `CorruptError`.

        Args:
            files: all blobs of the snapshot.
            projection: that of the pictures.
            threads: how many the encoder may use for one batch.
            previous: that of an open snapshot; its encoder is shared where both have the same one.
        """
        section = manifest.encoder.text
        if section is None:
            return None
        found = manifest.image.projection
        centre = None
        if found is not None and found.centre is not None:
            centre = read_centre(files[found.centre].read_bytes(), section.dimension)
        shared = previous.encoder if previous and previous.section.is_same(section) else None
        encoder = shared or open_mapped_encoder(section, files, threads)
        return cls(section, encoder, projection, centre)

    def find_directions(self, vectors: Vectors) -> Vectors:
        """Return the (n, index dimension) directions, of length 1, of (n, encoder dimension) vectors of texts."""
        if self._projection is None:
            return normalise(vectors)
        return self._projection.turn(vectors if self._centre is None else vectors - self._centre)


def read_centre(data: bytes, dimension: int) -> Vectors:
    """Return the mean of texts. Raises `CorruptError` where it is not one of so many numbers."""
    try:
        centre: Vectors = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorruptError(f"the centre of texts cannot be read: {error}") from error
    if centre.shape != (dimension,) or centre.dtype != np.float32:
        raise CorruptError(f"the centre of texts is {centre.dtype}{centre.shape}, not float32({dimension},)")
    return centre
