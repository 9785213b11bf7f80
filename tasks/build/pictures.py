"""The different pictures of a catalogue, to learn from and to measure with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.catalogue.normalised import read_catalogue_range
from lookalike.data.embeddings import Embeddings, differ, hash_array
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import ObjectStore
from lookalike.tasks.build.shard import read_vector_batches, read_vectors

READ_AT_A_TIME = 2**17  # products, not fewer: data that is spread over all hashes is read again for each part
MOST_SHOWN = (
    2.0  # times the mean number of products of a picture: with this bound, at most a fifth of the products is held out
)


class CataloguePictures:
    """The different pictures that the products of a catalogue show, in the order of their hashes.

    Hashes are uniform, so the first pictures are an unbiased sample. A picture counts once, however many products show
    it.
    """

    def __init__(
        self, store: ObjectStore, catalogue: str, products: int, pictures: int, encoder: EncoderSection
    ) -> None:
        self.products = products
        self.count = pictures
        self._store = store
        self._catalogue = catalogue
        self._embeddings = Embeddings(store, encoder.fingerprint)

    def read_first(self, count: int) -> Iterator[NDArray[np.float16]]:
        """Yield the encoder vectors of the first `count` pictures, or of all where there are fewer, some at a time."""
        edges = np.linspace(0, 2**32, 1 - (-self.products // READ_AT_A_TIME), dtype=np.int64).tolist()
        for start, stop in pairwise(edges):
            products, _ = self._read(start, stop)
            for vectors in read_vector_batches(products.slice(0, count), self._embeddings, start, stop):
                count -= len(vectors)
                yield vectors
            if not count:
                return

    def read_last(self, count: int) -> tuple[NDArray[np.float16], NDArray[np.bytes_]]:
        """Return encoder vectors and hashes of the last `count` pictures that few products show, or of all there are.

        A picture that very many products show would hold out a large part of the catalogue.
        """
        share = 4 * count / self.count  # more than enough in most catalogues
        while True:
            start = int(2**32 * (1 - min(1.0, share)))
            products, shown = self._read(start, 2**32)
            seldom = products.filter(pa.array(shown <= MOST_SHOWN * self.products / self.count))
            seldom = seldom.slice(max(0, seldom.num_rows - count))
            if seldom.num_rows >= count or not start:
                break
            share *= 4
        return read_vectors(seldom, self._embeddings, start, 2**32), hash_array(seldom["image_hash"])

    def _read(self, start: int, stop: int) -> tuple[pa.Table, NDArray[np.int64]]:
        """Return one product for each picture in a range of hashes, and how many products show that picture."""
        products = read_catalogue_range(self._store, self._catalogue, start, stop)
        first = np.flatnonzero(differ(hash_array(products["image_hash"])))
        return products.take(pa.array(first)), np.diff(first, append=products.num_rows)
