"""The work of an embed stage: which pictures have no vector, how workers share them, and what one worker does.

Arguments and results of workers are small; vectors go to the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.catalogue.normalised import known_hashes, write_hashes
from lookalike.data.embeddings import HASH, Embeddings, hash_array, positions
from lookalike.data.errors import ImageRejectedError
from lookalike.data.fetch.client import FetchPolicy
from lookalike.data.fetch.images import read_image
from lookalike.data.partitioned import BUCKETS, PartitionedTable, hash_buckets, regroup
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.colours import open_colours
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import ObjectStore, open_store
from lookalike.tasks.embed.pipeline import EmbeddedBatch, ImageToEmbed, Reject, embed
from lookalike.tasks.encoders.base import Encoder, EncoderSpec
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source

PARTITIONS_PER_WORKER = 8  # so that all workers end at about the same time
LEAST_PICTURES = 32
ASSUMED_BYTES = 256 * 2**10  # of a picture whose size is not known

PICTURE = ["image_hash", "image", "image_version"]
"""What of a product names one of its pictures."""
REJECTED = pa.schema([("image_hash", HASH), *((name, pa.string()) for name in ("stage", "reason", "message"))])

Device = Literal["cpu", "cuda"]

READ_THREADS = 4  # for files: more threads only wait for one another
FETCH_THREADS = 16  # for pictures in S3 or on web servers: most of the time is waiting
READ_CHUNK = 16
KILLED = "the worker died on this picture, again and again; look at the picture and at the worker's memory limit"


class ToEmbed:
    """Pictures without a vector: `image_hash`, `image` and `image_version`, each picture once, by range of hashes."""

    def __init__(self, pictures: PartitionedTable, known: int) -> None:
        """Take the pictures, and how many others have their vector."""
        self.pictures = pictures
        self.known = known

    @property
    def count(self) -> int:
        """How many there are."""
        return self.pictures.rows


class EmbedResult:
    """What embedding came to: how many vectors were made, and the pictures without one, by range of hashes."""

    def __init__(self, rejected: PartitionedTable) -> None:
        """Begin with an empty table for the rejected pictures."""
        self.rejected = rejected
        self.vectors = 0

    def add(self, vectors: int, rejects: Sequence[Reject]) -> None:
        """Add what became of a partition."""
        self.vectors += vectors
        if rejects:
            hashes = [bytes.fromhex(reject.key) for reject in rejects]
            columns = [[getattr(reject, name) for reject in rejects] for name in ("stage", "reason", "message")]
            table = pa.table([hashes, *columns], schema=REJECTED)
            self.rejected.add(table, hash_buckets(positions(np.array(hashes, "V32"))))


def find_pictures_to_embed(
    products: Sequence[PartitionedTable], embeddings: Embeddings, new_table: Callable[[str], PartitionedTable]
) -> ToEmbed:
    """Return the pictures that tables name, by range of hashes, that have no vector yet."""
    known = new_table("known")
    if any(table.rows for table in products):
        known = read_known(embeddings, known)
    missing = new_table("missing")
    pictures = 0
    for bucket in range(BUCKETS):
        found = [table.read(bucket) for table in products]
        named = [table.select(PICTURE) for table in found if table is not None]
        if named:
            once = _each_once(pa.concat_tables(named))
            pictures += once.num_rows
            new = _without(once, known.read(bucket))
            missing.add(new, np.full(new.num_rows, bucket))
    return ToEmbed(missing, pictures - missing.rows)


def find_pictures_left(
    to_embed: ToEmbed, embeddings: Embeddings, new_table: Callable[[str], PartitionedTable]
) -> ToEmbed:
    """Return the pictures that have no vector still: an earlier try embedded the others."""
    known = read_known(embeddings, new_table("known"))
    left = new_table("still-missing")
    for bucket in range(BUCKETS):
        pictures = to_embed.pictures.read(bucket)
        if pictures is not None:
            without = _without(pictures, known.read(bucket))
            left.add(without, np.full(without.num_rows, bucket))
    return ToEmbed(left, to_embed.known + to_embed.count - left.rows)


def cut_partitions(to_embed: ToEmbed, *, workers: int, most: int, most_bytes: int) -> Iterator[pa.Table]:
    """Cut the pictures into tables that each keep one worker busy for a while.

    Args:
        workers: how many there are.
        most: pictures in a partition, at most.
        most_bytes: of the files of a partition's pictures, at most, as far as their sizes are known.
    """
    size = partition_size(to_embed.count, workers, most)
    return regroup(to_embed.pictures.tables(), size, weigh=_sizes, most_weight=most_bytes)


def partition_size(pictures: int, workers: int, most: int) -> int:
    """Return how many pictures a worker takes at a time."""
    fair = -(-pictures // (PARTITIONS_PER_WORKER * max(workers, 1)))
    return max(1, min(most, max(LEAST_PICTURES, fair)))


def size_of_version(version: str | None) -> int:
    """Return a picture's size in bytes, with which the version of a file and of an object in S3 begins."""
    size, separator, _ = (version or "").partition("-")
    return int(size) if separator and size.isdecimal() else ASSUMED_BYTES


def _sizes(pictures: pa.Table) -> list[int]:
    return [size_of_version(version) for version in pictures["image_version"].to_pylist()]


def read_known(embeddings: Embeddings, known: PartitionedTable) -> PartitionedTable:
    """Fill a table with the hashes of all pictures that have a vector, by range; return it."""
    for hashes in embeddings.hash_columns():
        column = pa.array(hashes.tolist(), HASH)
        known.add(pa.table({"image_hash": column}), hash_buckets(positions(hashes)))
    return known


def _each_once(products: pa.Table) -> pa.Table:
    """Return each picture once, sorted by its hash; of several references to it the first by name."""
    pictures = products.sort_by([("image_hash", "ascending"), ("image", "ascending")])
    hashes = hash_array(pictures["image_hash"])
    first = np.ones(len(hashes), bool)
    first[1:] = hashes[1:] != hashes[:-1]
    return pictures.filter(pa.array(first))


def _without(pictures: pa.Table, known: pa.Table | None) -> pa.Table:
    if known is None:
        return pictures
    there = pc.is_in(pictures["image_hash"], value_set=known["image_hash"].combine_chunks())
    return pictures.filter(pc.invert(there))


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
    with ThreadPoolExecutor(count_readers(references)) as pool:
        parts = pool.map(lambda chunk: [_hash_image(reference, policy) for reference in chunk], chunks)
        found = list(chain.from_iterable(parts))
    hashed = known_hashes(products, [None if isinstance(one, ImageRejectedError) else one for one in found])
    if hashed.num_rows:
        write_hashes(open_store(store), hashed)
    return found


def embed_pictures(
    pictures: pa.Table,
    *,
    store: str,
    encoder: EncoderSection,
    policy: FetchPolicy,
    threads: int,
    device: Device,
    colours: bool = True,
) -> Embedded:
    """Embed the pictures of a table with `image_hash` and `image`, and write their vectors to the store.

    `colours` says whether their colours are measured, too, while they are decoded.
    """
    hashes, references = pictures["image_hash"].to_pylist(), pictures["image"].to_pylist()
    expected = dict(zip(references, hashes, strict=True))
    batches = list(
        embed(
            (ImageToEmbed(one.hex(), reference) for one, reference in zip(hashes, references, strict=True)),
            load_worker_encoder(store, encoder, threads, device),
            read=lambda reference: read_unchanged(reference, expected[reference], policy),
            # on CPUs each core has a worker, and decoding is faster than the model; a GPU's worker has all cores for
            # decoding
            decode_threads=threads + 1 if device == "cpu" else None,
            read_threads=FETCH_THREADS if _has_remote(references) else None,
            colours=colours,
        )
    )
    return _write_batches(open_store(store), encoder, batches)


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


def count_readers(references: Sequence[str]) -> int:
    """Return how many pictures are read at a time."""
    return FETCH_THREADS if _has_remote(references) else READ_THREADS


def _write_batches(store: ObjectStore, encoder: EncoderSection, batches: Sequence[EmbeddedBatch]) -> Embedded:
    hashes = [bytes.fromhex(key) for batch in batches for key in batch.keys]
    if hashes:
        Embeddings(store, encoder.fingerprint).write(hashes, np.concatenate([batch.vectors for batch in batches]))
        shares = [batch.colours for batch in batches if batch.colours is not None]
        if shares:
            open_colours(store).write(hashes, np.concatenate(shares).astype(np.float32))
    return Embedded(len(hashes), tuple(reject for batch in batches for reject in batch.rejects))


def read_unchanged(reference: str, expected: bytes, policy: FetchPolicy) -> bytes:
    data = read_image(reference, policy=policy)
    if hashlib.sha256(data).digest() != expected:
        raise ImageRejectedError("changed", f"{reference} changed during the run; the next run takes it up")
    return data


def _hash_image(reference: str, policy: FetchPolicy) -> bytes | ImageRejectedError:
    try:
        return hashlib.sha256(read_image(reference, policy=policy)).digest()
    except ImageRejectedError as error:
        return error
