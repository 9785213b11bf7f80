"""What one worker does with one partition of pictures: arguments and results are small, vectors go to the store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Literal

import numpy as np
import pyarrow as pa

from lookalike.data.catalogue.image_hashes import known_hashes, write_hashes
from lookalike.data.embeddings import Embeddings
from lookalike.data.errors import ImageRejectedError
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.fetch.images import read_image
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import open_store
from lookalike.tasks.embed.pipeline import EmbeddedBatch, ImageToEmbed, Reject, embed
from lookalike.tasks.encoders.base import Encoder, EncoderSpec
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source

Device = Literal["cpu", "cuda"]

READ_THREADS = 4  # for files: more threads only wait for one another
FETCH_THREADS = 16  # for pictures in S3 or on web servers: most of the time is waiting
READ_CHUNK = 16
KILLED = "the worker died on this picture, again and again; look at the picture and at the worker's memory limit"


@dataclass(frozen=True, slots=True)
class Embedded:
    """The result of one partition: how many vectors were written, and which pictures have none."""

    vectors: int
    rejects: tuple[Reject, ...]


def hash_pictures(products: pa.Table, *, store: str, policy: FetchPolicy) -> list[bytes | ImageRejectedError]:
    """Return the sha256 of each product's picture, or why it has none; store the hashes for later runs."""
    references = products["image"].to_pylist()
    # in chunks: handing a single picture to a thread takes longer than reading a small one
    chunks = [references[start : start + READ_CHUNK] for start in range(0, len(references), READ_CHUNK)]
    with ThreadPoolExecutor(FETCH_THREADS if _has_remote(references) else READ_THREADS) as pool:
        parts = pool.map(lambda chunk: [_hash_image(reference, policy) for reference in chunk], chunks)
        found = list(chain.from_iterable(parts))
    hashed = known_hashes(products, [None if isinstance(one, ImageRejectedError) else one for one in found])
    if hashed.num_rows:
        write_hashes(open_store(store), hashed)
    return found


def embed_pictures(
    pictures: pa.Table, *, store: str, encoder: EncoderSection, policy: FetchPolicy, threads: int, device: Device
) -> Embedded:
    """Embed the pictures of a table with `image_hash` and `image`, and write their vectors to the store."""
    hashes, references = pictures["image_hash"].to_pylist(), pictures["image"].to_pylist()
    expected = dict(zip(references, hashes, strict=True))
    batches = list(
        embed(
            (ImageToEmbed(one.hex(), reference) for one, reference in zip(hashes, references, strict=True)),
            load_worker_encoder(store, encoder, threads, device),
            read=lambda reference: _read_unchanged(reference, expected[reference], policy),
            # on CPUs each core has a worker, and decoding is faster than the model; a GPU's worker has all cores for
            # decoding
            decode_threads=threads + 1 if device == "cpu" else None,
            read_threads=FETCH_THREADS if _has_remote(references) else None,
        )
    )
    return _write_vectors(Embeddings(open_store(store), encoder.fingerprint), batches)


def reject_unhashed(products: pa.Table) -> list[bytes | ImageRejectedError]:
    """Return what `hash_pictures` would, of products whose pictures kill any worker that reads them."""
    return [ImageRejectedError("killed_worker", KILLED)] * products.num_rows


def reject_unembedded(pictures: pa.Table) -> Embedded:
    """Return what `embed_pictures` would, of the one picture that kills any worker that embeds it."""
    image_hash, reference = pictures["image_hash"][0].as_py(), pictures["image"][0].as_py()
    return Embedded(0, (Reject(image_hash.hex(), reference, "encode", "killed_worker", KILLED),))


@lru_cache(maxsize=2)
def load_worker_encoder(store: str, encoder: EncoderSection, threads: int, device: Device) -> Encoder:
    """Load the stored encoder, or its network on this worker's GPU; each worker loads it once."""
    opened = open_store(store)
    spec = EncoderSpec.model_validate_json(blobs.read(opened, encoder.spec))
    stored = OnnxEncoder(blobs.read(opened, encoder.model), spec, threads=threads)
    loaded = stored if device == "cpu" else _on_gpu(encoder.name, stored)
    loaded.warm_up()
    return loaded


def _has_remote(references: Sequence[str]) -> bool:
    return any("://" in reference for reference in references)


def _on_gpu(name: str, stored: OnnxEncoder) -> Encoder:
    from lookalike.tasks.encoders import torch_encoder  # noqa: PLC0415 - seconds, and nothing that a worker without a GPU needs

    return torch_encoder.open_on_gpu(find_source(name), stored)


def _write_vectors(embeddings: Embeddings, batches: Sequence[EmbeddedBatch]) -> Embedded:
    hashes = [bytes.fromhex(key) for batch in batches for key in batch.keys]
    if hashes:
        embeddings.write(hashes, np.concatenate([batch.vectors for batch in batches]))
    return Embedded(len(hashes), tuple(reject for batch in batches for reject in batch.rejects))


def _read_unchanged(reference: str, expected: bytes, policy: FetchPolicy) -> bytes:
    data = read_image(reference, policy=policy)
    if hashlib.sha256(data).digest() != expected:
        raise ImageRejectedError("changed", f"{reference} changed during the run; the next run takes it up")
    return data


def _hash_image(reference: str, policy: FetchPolicy) -> bytes | ImageRejectedError:
    try:
        return hashlib.sha256(read_image(reference, policy=policy)).digest()
    except ImageRejectedError as error:
        return error
