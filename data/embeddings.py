"""Embeddings: image hash -> vector, as Parquet, so that an image is embedded once for each encoder.

Vectors in a scratch file, for what is read once and wanted in several parts.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from itertools import pairwise
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lookalike.data.errors import AlreadyExistsError, CorruptError
from lookalike.data.stores import ObjectStore

HASH_BYTES = 32
HASH = pa.binary(HASH_BYTES)
READ_THREADS = 8  # a small read from an object store is mostly waiting
READ_AHEAD = 64  # files
WIDE = 4  # ranges: a file over more of them is read once for all
DISTORTED = "distorted"
"""The folder with vectors of distorted copies of pictures (`lookalike.tasks.images.augmentations`)."""
LOST = "the store lost vectors that were embedded before: run again to embed them"


class ScratchVectors:
    """The vectors of hashes; in memory there are the hashes alone. The file goes at the end of the block."""

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile(prefix="lookalike-vectors-")
        self._parts: list[NDArray[np.bytes_]] = []
        self._dimension = 0
        self._sorted: tuple[NDArray[np.bytes_], NDArray[np.int64]] | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, hashes: NDArray[np.bytes_], vectors: NDArray[np.float16]) -> None:
        """Append the (n, d) vectors of (n,) hashes; nothing may be taken before the last ones."""
        if len(hashes):
            self._parts.append(hashes)
            self._dimension = vectors.shape[1]
            self._file.write(np.ascontiguousarray(vectors).data)

    def take(self, wanted: NDArray[np.bytes_]) -> tuple[NDArray[np.bytes_], NDArray[np.float16]]:
        """Return those of (m,) sorted hashes that are there, sorted, and their vectors."""
        if not self._parts or not len(wanted):
            return np.empty(0, "V32"), np.empty((0, 0), np.float16)
        if self._sorted is None:
            every = np.concatenate(self._parts)
            order = np.argsort(every)
            self._sorted = every[order], order
            self._file.flush()
        hashes, rows = self._sorted
        places = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
        there = hashes[places] == wanted
        vectors: NDArray[np.float16] = self._map(len(hashes))[rows[places[there]]]
        return wanted[there], vectors

    def _map(self, count: int) -> NDArray[np.float16]:
        return np.memmap(self._file, np.float16, "r", shape=(count, self._dimension))


def position(image_hash: bytes) -> int:
    """Return where a hash lies in the space of all hashes: its first 32 bits."""
    return int.from_bytes(image_hash[:4], "big")


def positions(hashes: NDArray[np.bytes_]) -> NDArray[np.uint32]:
    """Return the position of each of (n,) hashes."""
    return hashes.view(np.uint8).reshape(-1, HASH_BYTES)[:, :4].copy().view(">u4").ravel().astype(np.uint32)


def differ(hashes: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """Return a mask (n,) of those sorted hashes that are others than the one before."""
    mask = np.ones(len(hashes), bool)
    mask[1:] = hashes[1:] != hashes[:-1]
    return mask


def among(hashes: NDArray[np.bytes_], wanted: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    """Return a mask (n,) of those hashes that are among (m,) sorted ones."""
    if not len(wanted):
        return np.zeros(len(hashes), bool)
    mask: NDArray[np.bool_] = wanted[np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)] == hashes
    return mask


class Embeddings:
    """The vectors of one encoder in one store.

    Each file holds the vectors of one partition, sorted by hash, and its name says the range of hashes inside:
    whoever needs a range reads only the files that overlap it. Files are written once and never changed. What others
    write after the first look is not seen.
    """

    def __init__(self, store: ObjectStore, fingerprint: str, folder: str = "embeddings") -> None:
        """Open the vectors of pictures, or those in another folder, whose hashes are names of something else."""
        self._store = store
        self._folder = f"{folder}/{fingerprint}/"

    def write(self, hashes: Sequence[bytes], vectors: NDArray[np.float32]) -> str:
        """Write one partition; (n,) hashes of 32 bytes and (n, d) vectors. Return the object's name."""
        order = sorted(range(len(hashes)), key=hashes.__getitem__)
        data = _to_parquet([hashes[i] for i in order], vectors[order])
        first, last = position(hashes[order[0]]), position(hashes[order[-1]])
        key = f"{self._folder}{first:08x}-{last:08x}-{_short_hash(data)}.parquet"
        with suppress(AlreadyExistsError):  # the same partition, computed again after its answer was lost
            self._store.create(key, data)
        self.__dict__.pop("_files", None)
        return key

    def hash_columns(self) -> Iterator[NDArray[np.bytes_]]:
        """Yield the (n,) hashes of each file; the hash of a repeated partition comes twice."""
        with ThreadPoolExecutor(READ_THREADS) as pool:
            for start in range(0, len(self._files), READ_AHEAD):
                yield from pool.map(self._hashes_of, self._files[start : start + READ_AHEAD])

    def lookup(self, hashes: NDArray[np.bytes_]) -> NDArray[np.float16]:
        """Return the (n, d) vectors of (n,) hashes. Raises `CorruptError` where one has none."""
        wanted = np.unique(hashes)
        places = np.sort(positions(wanted))
        found: dict[bytes, NDArray[np.float16]] = {}
        for key in self._files:
            first, last = _range(key)
            if np.searchsorted(places, first) == np.searchsorted(places, last, side="right"):
                continue
            if not np.isin(self._hashes_of(key), wanted).any():
                continue
            there, vectors = self._read_file(key)
            found.update((bytes(there[row]), vectors[row]) for row in np.flatnonzero(np.isin(there, wanted)))
        if len(found) != len(wanted):
            raise CorruptError(LOST)
        return np.stack([found[bytes(one)] for one in hashes])

    def read(
        self, start: int = 0, stop: int = 2**32, wanted: NDArray[np.bytes_] | None = None
    ) -> tuple[NDArray[np.bytes_], NDArray[np.float16]]:
        """Return the sorted (n,) hashes with `start <= position < stop`, and their (n, d) vectors.

        Args:
            wanted: (m,) sorted hashes: no others take memory then; None for all that there are.
        """
        return _join(list(self._parts(self._files, start, stop, wanted)))

    def read_ranges(
        self, edges: Sequence[int], wanted: NDArray[np.bytes_]
    ) -> Iterator[tuple[NDArray[np.bytes_], NDArray[np.float16]]]:
        """Yield hashes and vectors of each range between ascending edges, for (m,) sorted hashes that are wanted.

        Files that lie over many ranges, as what each night adds does, are read once, and kept on disk meanwhile.
        """
        wanted = wanted[differ(wanted)]
        most = WIDE * (edges[-1] - edges[0]) / max(1, len(edges) - 1)
        wide = [key for key in self._files if _range(key)[1] - _range(key)[0] > most]
        narrow = [key for key in self._files if key not in set(wide)]
        places = np.searchsorted(positions(wanted), edges)
        with ScratchVectors() as scratch:
            for part in self._parts(wide, edges[0], edges[-1], wanted):
                scratch.add(*part)
            for (start, stop), (first, last) in zip(pairwise(edges), pairwise(places), strict=True):
                some = wanted[first:last]
                yield _join([*self._parts(narrow, start, stop, some), scratch.take(some)])

    def _parts(
        self, keys: Sequence[str], start: int, stop: int, wanted: NDArray[np.bytes_] | None
    ) -> Iterator[tuple[NDArray[np.bytes_], NDArray[np.float16]]]:
        if wanted is not None and not len(wanted):
            return
        overlapping = [key for key in keys if _overlaps(key, start, stop)]
        with ThreadPoolExecutor(READ_THREADS) as pool:  # what many nights added lies in as many files
            for first in range(0, len(overlapping), READ_THREADS):
                some = overlapping[first : first + READ_THREADS]
                yield from pool.map(lambda key: self._read_range(key, start, stop, wanted), some)

    def _read_range(
        self, key: str, start: int, stop: int, wanted: NDArray[np.bytes_] | None
    ) -> tuple[NDArray[np.bytes_], NDArray[np.float16]]:
        """Return copies of one file's rows in a range: what a few nights add lies over all hashes."""
        hashes, vectors = self._read_file(key)
        places = positions(hashes)
        inside = np.flatnonzero((places >= start) & (places < stop))
        if wanted is not None:
            inside = inside[among(hashes[inside], wanted)]
        return hashes[inside], vectors[inside]

    @cached_property
    def _files(self) -> list[str]:
        return [found.key for found in self._store.list(self._folder)]

    def _hashes_of(self, key: str) -> NDArray[np.bytes_]:
        with self._store.open(key) as file:
            return hash_array(pq.read_table(file, columns=["image_hash"])["image_hash"])

    def _read_file(self, key: str) -> tuple[NDArray[np.bytes_], NDArray[np.float16]]:
        data = self._store.read(key)
        if not key.endswith(f"-{_short_hash(data)}.parquet"):
            raise CorruptError(f"{key} is damaged: delete it, and its pictures are embedded again")
        table = pq.read_table(pa.BufferReader(data)).combine_chunks()
        return hash_array(table["image_hash"]), vector_array(table["vector"])


def _join(
    parts: Sequence[tuple[NDArray[np.bytes_], NDArray[np.float16]]],
) -> tuple[NDArray[np.bytes_], NDArray[np.float16]]:
    """Return the hashes of all parts, sorted, and their vectors; a repeated partition may hold a hash twice."""
    parts = [part for part in parts if len(part[0])]
    if not parts:
        return np.empty(0, "V32"), np.empty((0, 0), np.float16)
    unique, first = np.unique(np.concatenate([hashes for hashes, _ in parts]), return_index=True)
    return unique, np.concatenate([vectors for _, vectors in parts])[first]


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def hash_array(column: pa.ChunkedArray) -> NDArray[np.bytes_]:
    """Return a Parquet column of hashes as (n,) numpy values of 32 bytes, which compare and sort as bytes do."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    data = np.frombuffer(array.buffers()[1], np.uint8, len(array) * HASH_BYTES, array.offset * HASH_BYTES)
    return data.view(f"V{HASH_BYTES}")


def vector_array(column: pa.ChunkedArray) -> NDArray[np.float16]:
    """Return a Parquet column of vectors as an (n, d) array."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(array.flatten()).reshape(len(array), -1)


def _to_parquet(hashes: list[bytes], vectors: NDArray[np.float32]) -> bytes:
    half = np.ascontiguousarray(vectors, dtype=np.float16)
    table = pa.table(
        {
            "image_hash": pa.array(hashes, HASH),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(half.ravel()), half.shape[1]),
        }
    )
    buffer = io.BytesIO()
    # vectors look random: compressing them or a dictionary of them costs time and saves nothing
    pq.write_table(table, buffer, compression="none", use_dictionary=False)
    return buffer.getvalue()


def _range(key: str) -> tuple[int, int]:
    first, last, _ = key.rsplit("/", 1)[1].split("-", 2)
    return int(first, 16), int(last, 16)


def _overlaps(key: str, start: int, stop: int) -> bool:
    first, last = _range(key)
    return first < stop and last >= start
