"""Meaning: products by the cosine of a query's vector with those of their texts."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.data.errors import CorruptError, InputError
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.manifest import TEXT, EncoderSection, Manifest
from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
from lookalike.tasks.encoders.texts.stored import open_text_encoder
from lookalike.tasks.search.channels import Channel, Mask, Rows, Scores
from lookalike.tasks.search.index import ShardedIndex

AT_ONCE = 128
"""So many texts are looked for at least: the channels of a query look for 30 to 128, and share one search."""

Vectors = NDArray[np.float32]


class TextSpace:
    """The texts of a snapshot's products, as vectors. Safe to use from many threads at once.

    `rows` are the (n,) ascending rows of the products that have a text, row i of the index being that of `rows[i]`.
    """

    def __init__(
        self,
        section: EncoderSection,
        encoder: OnnxTextEncoder,
        index: ShardedIndex,
        rows: Rows,
        products: int,
        alive: Mask | None = None,
    ) -> None:
        self.section = section
        self.encoder = encoder
        self._index = index
        self._rows = rows
        without = np.ones(products, bool) if alive is None else alive.copy()
        without[rows] = False
        without.flags.writeable = False  # so that indexes keep what they find out about it
        self.without: Mask | None = without if without.any() else None
        """A mask of the products that can be found and have no text; None where each has one."""

    @classmethod
    def open(
        cls,
        manifest: Manifest,
        files: Mapping[Blob, Path],
        alive: Mask | None,
        *,
        threads: int,
        previous: TextSpace | None = None,
    ) -> TextSpace | None:
        """Open the space of texts of a snapshot, warmed up; None where it has none. Raises `CorruptError`.

        Args:
            files: all blobs of the snapshot.
            alive: a mask of the products that can be found, None where all can.
            threads: how many the encoder may use for one batch.
            previous: that of an open snapshot; its encoder is shared where both have the same one.
        """
        space = manifest.text
        if space is None:
            return None
        parts: list[tuple[Path, NDArray[np.int64]]] = []
        start = 0
        for shard in manifest.shards:
            if part := shard.spaces.get(TEXT):
                rows = read_rows(files[part.rows].read_bytes() if part.rows else None, shard.count)
                parts.append((files[part.index], rows + start))
            start += shard.count
        if not parts:
            return None
        every = np.concatenate([rows for _, rows in parts])
        index = ShardedIndex.open(
            [file for file, _ in parts],
            [len(rows) for _, rows in parts],
            space.index.dimension,
            nprobe=space.index.nprobe,
            ef_search=space.index.ef_search,
            k_factor=space.index.k_factor,
            alive=None if alive is None else alive[every],
        )
        index.warm_up()
        shared = previous.encoder if previous and previous.section.is_same(space.encoder) else None
        encoder = shared or open_mapped_encoder(space.encoder, files, threads)
        return cls(space.encoder, encoder, index, every, start, alive)

    @property
    def is_exact(self) -> bool:
        """Whether each search compares with every text."""
        return self._index.is_exact

    def embed(self, text: str) -> Vectors:
        """Return the (dimension,) vector of a text. Raises `InputError` where the encoder knows nothing of it."""
        tokens = self.encoder.prepare(text)
        if not tokens.known:
            raise InputError("nothing in the text means anything to the encoder: write words")
        vector: Vectors = self.encoder.finish(self.encoder.infer([tokens]))[0]
        return vector

    def search(self, vector: Vectors, k: int, allowed: Mask | None = None) -> tuple[Scores, Rows]:
        """Return scores and rows of the k products whose texts are nearest to a vector of length 1, best first.

        `allowed` is a mask of all products; without it all that are alive can be found.
        """
        found = self._index.search(vector[None], k, allowed=None if allowed is None else allowed[self._rows])
        kept = found.rows[0] >= 0
        return np.clip(found.scores[0][kept], 0.0, 1.0), self._rows[found.rows[0][kept]]

    def scores(self, vector: Vectors, rows: Rows) -> Scores:
        """Return the (n,) cosines, at least 0, of any (n,) products; 0 where a product has no text."""
        places, there = self._locate(rows)
        scores = np.zeros(len(rows), np.float32)
        if there.any():
            scores[there] = np.clip(self._index.reconstruct_rows(places[there]) @ vector, 0.0, 1.0)
        return scores

    def has_text(self, rows: Rows) -> Mask:
        """Return which of any (n,) products have a text."""
        return self._locate(rows)[1]

    def _locate(self, rows: Rows) -> tuple[NDArray[np.intp], Mask]:
        places = np.minimum(np.searchsorted(self._rows, rows), len(self._rows) - 1)
        there: Mask = self._rows[places] == rows
        return places, there


class NearTexts:
    """The texts of products that are near to one vector of length 1. Safe to use from one thread at a time."""

    def __init__(self, space: TextSpace, vector: Vectors) -> None:
        self.space = space
        self._vector = vector
        self._last: tuple[int, Mask | None, Scores, Rows] | None = None

    def find(self, k: int, allowed: Mask | None = None) -> tuple[Scores, Rows]:
        """Return what `TextSpace.search` returns. What the last search found is not looked for again."""
        if self._last is None or k > self._last[0] or allowed is not self._last[1]:
            reach = max(k, AT_ONCE)
            self._last = (reach, allowed, *self.space.search(self._vector, reach, allowed))
        _, _, scores, rows = self._last
        return scores[:k], rows[:k]

    def scores(self, rows: Rows) -> Scores:
        """Return the (n,) cosines, at least 0, of any (n,) products; 0 where a product has no text."""
        return self.space.scores(self._vector, rows)


class Meaning:
    """A channel of search: how near the texts of products are to one query.

    `pictures` is the channel that speaks for products without a text; without it their score is 0.
    """

    def __init__(self, texts: NearTexts, pictures: Channel | None = None) -> None:
        self._texts = texts
        self._space = texts.space
        self._pictures = pictures if self._space.without is not None else None

    def candidates(self, reach: int, allowed: Mask | None) -> Rows:
        """Return the (n <= reach,) best rows, best first, without those that have nothing in common with the query."""
        scores, rows = self._texts.find(reach, allowed)
        if self._pictures is not None and self._space.without is not None:
            without = self._space.without if allowed is None else self._space.without & allowed
            more = self._pictures.candidates(reach, without) if without.any() else np.empty(0, np.int64)
            rows = np.concatenate([rows, more])
            scores = np.concatenate([scores, self._pictures.scores(more)])
            best = np.lexsort((rows, -scores))[:reach]
            rows, scores = rows[best], scores[best]
        return rows[scores > 0.0]

    def scores(self, rows: Rows) -> Scores:
        """Return the (n,) cosines, at least 0, of any (n,) rows."""
        scores = self._texts.scores(rows)
        if self._pictures is not None:
            untitled = np.flatnonzero(~self._space.has_text(rows))
            if len(untitled):
                scores[untitled] = self._pictures.scores(rows[untitled])
        return scores


def read_rows(data: bytes | None, count: int) -> NDArray[np.int64]:
    """Return the (n,) rows of a shard's products that rows of an index belong to: all of them for None.

    Raises `CorruptError`.
    """
    if data is None:
        return np.arange(count, dtype=np.int64)
    try:
        rows = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise CorruptError(f"the rows of a space cannot be read: {error}") from error
    if rows.dtype != np.uint32 or rows.ndim != 1 or not len(rows):
        raise CorruptError(f"the rows of a space are {rows.dtype}{rows.shape}, not some of uint32")
    wide: NDArray[np.int64] = rows.astype(np.int64)
    if (np.diff(wide) <= 0).any() or wide[-1] >= count:
        raise CorruptError(f"the rows of a space do not ascend within the {count} of their shard")
    return wide


def open_mapped_encoder(section: EncoderSection, files: Mapping[Blob, Path], threads: int) -> OnnxTextEncoder:
    """Open an encoder of texts, warmed up, from the files of a snapshot. Raises `CorruptError`."""
    if section.vocabulary is None:
        raise CorruptError(f"the text encoder {section.name} has no vocabulary")
    spec, vocabulary = files[section.spec].read_bytes(), files[section.vocabulary].read_bytes()
    encoder = open_text_encoder(section, spec, files[section.model], vocabulary, threads=threads)
    encoder.warm_up()
    return encoder
