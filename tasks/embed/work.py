"""The work of an embed stage: which pictures have no vector, how workers share them, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.data.embeddings import HASH, Embeddings, hash_array, positions
from lookalike.data.partitioned import BUCKETS, PartitionedTable, hash_buckets, regroup
from lookalike.tasks.embed.pipeline import Reject

PARTITIONS_PER_WORKER = 8  # so that all workers end at about the same time
LEAST_PICTURES = 32
ASSUMED_BYTES = 256 * 2**10  # of a picture whose size is not known

REJECTED = pa.schema([("image_hash", HASH), *((name, pa.string()) for name in ("stage", "reason", "message"))])


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
    products: PartitionedTable, embeddings: Embeddings, new_table: Callable[[str], PartitionedTable]
) -> ToEmbed:
    """Return the pictures of products, by range of hashes, that have no vector yet."""
    known = _read_known(embeddings, new_table("known")) if products.rows else new_table("known")
    missing = new_table("missing")
    pictures = 0
    for bucket in range(BUCKETS):
        table = products.read(bucket)
        if table is not None:
            once = _each_once(table)
            pictures += once.num_rows
            new = _without(once, known.read(bucket))
            missing.add(new, np.full(new.num_rows, bucket))
    return ToEmbed(missing, pictures - missing.rows)


def find_pictures_left(
    to_embed: ToEmbed, embeddings: Embeddings, new_table: Callable[[str], PartitionedTable]
) -> ToEmbed:
    """Return the pictures that have no vector still: an earlier try embedded the others."""
    known = _read_known(embeddings, new_table("known"))
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


def _read_known(embeddings: Embeddings, known: PartitionedTable) -> PartitionedTable:
    """Fill a table with the hashes of all pictures that have a vector, by range; return it."""
    for hashes in embeddings.hash_columns():
        column = pa.array(hashes.tolist(), HASH)
        known.add(pa.table({"image_hash": column}), hash_buckets(positions(hashes)))
    return known


def _each_once(products: pa.Table) -> pa.Table:
    """Return each picture once, sorted by its hash; of several references to it the first by name."""
    pictures = products.select(["image_hash", "image", "image_version"]).sort_by(
        [("image_hash", "ascending"), ("image", "ascending")]
    )
    hashes = hash_array(pictures["image_hash"])
    first = np.ones(len(hashes), bool)
    first[1:] = hashes[1:] != hashes[:-1]
    return pictures.filter(pa.array(first))


def _without(pictures: pa.Table, known: pa.Table | None) -> pa.Table:
    if known is None:
        return pictures
    there = pc.is_in(pictures["image_hash"], value_set=known["image_hash"].combine_chunks())
    return pictures.filter(pc.invert(there))
