"""Distorted copies of a few pictures, embedded on workers: what the projection is learnt from.

A copy is named by its picture, its augmentation and the version of all augmentations. Copies stay in the store, so a
run that was killed embeds none again, and neither does a later one that learns from the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lookalike.data.catalogue.normalised import read_catalogue_range
from lookalike.data.embeddings import DISTORTED, Embeddings, among, differ, hash_array
from lookalike.data.errors import ImageRejectedError
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.embed.work import Device, load_worker_encoder, read_unchanged
from lookalike.tasks.encoders.base import Encoder
from lookalike.tasks.images.augmentations import AUGMENTATIONS, augment, name_copy, shrink
from lookalike.tasks.images.preprocessing import apply, decode_for

LEAST_PICTURES = 50  # of a catalogue: with half as many, hit@1 of distorted pictures is 0.004 lower
SHARE = 1 / 20  # of the pictures, where that is more: copies of a larger share would take longer than the catalogue
PICTURES_AT_A_TIME = 8  # of a worker, each in all its copies: a worker that dies loses seconds of work
FEWEST = 10  # pictures to learn from
READ_THREADS = 8


def count_distorted(pictures: int, most: int) -> int:
    """Return of how many pictures to embed distorted copies, in a catalogue of so many; `most` is 0 for none."""
    if pictures < FEWEST:  # two pictures are opposites once their mean is taken away, and one is nothing
        return 0
    return min(most, pictures, max(LEAST_PICTURES, int(SHARE * pictures)))


def choose_pictures(store: str, catalogue: str, products: int, count: int) -> pa.Table:
    """Return `image_hash` and `image` of the first `count` different pictures of a catalogue, or of all there are.

    Hashes are uniform, so these are an unbiased sample, and most of them are the same ones in the next snapshot.
    """
    opened, share = open_store(store), 4 * count / products
    while True:
        found = read_catalogue_range(opened, catalogue, 0, int(2**32 * min(1.0, share)))
        once = found.filter(pa.array(differ(hash_array(found["image_hash"])))) if found.num_rows else found
        if once.num_rows >= count or share >= 1:
            return once.select(["image_hash", "image"]).slice(0, count).combine_chunks()
        share *= 4


def cut_partitions(pictures: pa.Table) -> Iterator[pa.Table]:
    """Cut the pictures into tables for workers."""
    for start in range(0, pictures.num_rows, PICTURES_AT_A_TIME):
        yield pictures.slice(start, PICTURES_AT_A_TIME)


def find_distorted(store: ObjectStore, encoder: EncoderSection, pictures: pa.Table) -> NDArray[np.bool_]:
    """Return a mask of the pictures whose copies are all in the store."""
    names = name_copies(pictures["image_hash"].to_pylist())
    columns = list(Embeddings(store, encoder.fingerprint, DISTORTED).hash_columns())
    known = np.unique(np.concatenate(columns)) if columns else np.empty(0, "V32")
    return np.asarray(among(names.ravel(), known).reshape(names.shape).all(axis=1))


def name_copies(hashes: Sequence[bytes]) -> NDArray[np.bytes_]:
    """Return the names (n, augmentations) of the copies of n pictures."""
    names = [name_copy(one, augmentation) for one in hashes for augmentation in AUGMENTATIONS]
    return np.array(names, "V32").reshape(len(hashes), len(AUGMENTATIONS))


def embed_distorted(
    pictures: pa.Table, *, store: str, encoder: EncoderSection, policy: FetchPolicy, threads: int, device: Device
) -> int:
    """Embed all copies of each picture, and write their vectors to the store; return how many pictures could be read.

    A copy in which the encoder sees nothing gets a vector of zeros.
    """
    hashes, references = pictures["image_hash"].to_pylist(), pictures["image"].to_pylist()
    loaded = load_worker_encoder(store, encoder, threads, device)
    names: list[bytes] = []
    vectors: list[NDArray[np.float32]] = []
    with ThreadPoolExecutor(READ_THREADS) as pool:
        for image_hash, data in zip(hashes, pool.map(partial(_read, policy=policy), references, hashes), strict=True):
            copies = _draw_copies(loaded, data, image_hash) if data else None
            if copies is not None:
                names += [name_copy(image_hash, augmentation) for augmentation in AUGMENTATIONS]
                vectors += [loaded.finish(loaded.infer(some)) for some in _in_batches(copies, loaded.batch_size)]
    if names:
        Embeddings(open_store(store), encoder.fingerprint, DISTORTED).write(names, np.concatenate(vectors))
    return len(names) // len(AUGMENTATIONS)


def leave_out(pictures: pa.Table) -> int:
    """Return what `embed_distorted` would, of the one picture that kills any worker that reads it."""
    del pictures
    return 0


def _read(reference: str, expected: bytes, *, policy: FetchPolicy) -> bytes | None:
    try:
        return read_unchanged(reference, expected, policy)
    except ImageRejectedError:  # it was read when it was embedded: there are enough others
        return None


def _draw_copies(encoder: Encoder, data: bytes, image_hash: bytes) -> NDArray[np.uint8] | None:
    """Return the copies of a picture as the encoder takes them, (augmentations, size, size, 3); None for no picture."""
    preprocessing = encoder.spec.preprocessing
    try:
        image = shrink(decode_for(preprocessing, data)[0])
    except ImageRejectedError:
        return None
    return np.stack([apply(preprocessing, augment(image, image_hash, name)) for name in AUGMENTATIONS])


def _in_batches(copies: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(copies), size):
        yield copies[start : start + size]
