"""Embed: vectors for what has none, on Dask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
from prefect.runtime import task_run

from lookalike.data.catalogue.rejects import Reject
from lookalike.data.embeddings import HASH, positions
from lookalike.data.partitioned import PartitionedTable
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.flows.runtime.logs import run_log
from lookalike.flows.runtime.partitions import KILLED, Partition, map_partitions
from lookalike.flows.runtime.progress import stage_progress
from lookalike.flows.runtime.run import Run
from lookalike.flows.runtime.stage import stage
from lookalike.flows.stages.scan import Missing, still_missing
from lookalike.tasks.embed import partition as partitions
from lookalike.tasks.embed import pipeline
from lookalike.tasks.embed.partition import Embedded
from lookalike.tasks.encoders.stored import stored_encoder
from lookalike.tasks.scan import hash_buckets, regrouped

PARTITIONS_PER_WORKER = 8  # so that all workers end at about the same time
LEAST_PICTURES = 32
ASSUMED_BYTES = 256 * 2**10  # of a picture whose size is not known

_REJECTED = pa.schema([("image_hash", HASH), *((name, pa.string()) for name in ("stage", "reason", "message"))])


class Embeds:
    """What embedding came to: how many vectors were made, and the pictures without one, by range of hashes."""

    def __init__(self, rejected: PartitionedTable) -> None:
        self.rejected = rejected
        self.vectors = 0


@stage("encoder")
def prepare_encoder(run: Run) -> EncoderSection:
    """Bring the encoder into the store, exported once."""
    encoder = stored_encoder(run.store, run.request.encoder)
    run_log(__name__).info("encoder: %s, fingerprint %s", encoder.name, encoder.fingerprint)
    return encoder


@stage("embed")
def embed(run: Run, missing: Missing, encoder: EncoderSection) -> Embeds:
    """Embed what is missing, on Dask; where the stage is tried again, what the tries before have left."""
    left = still_missing(run, missing, encoder) if (task_run.run_count or 0) > 1 else missing
    done = Embeds(run.new_spill("unembedded"))
    done.vectors = missing.count - left.count
    with stage_progress("embed") as progress:
        progress.expect(left.count)
        for partition, embedded in _embedded(run, left, encoder) if left.count else ():
            done.vectors += embedded.vectors
            _take_rejects(done.rejected, partition, embedded.rejects)
            progress.advance(partition.rows.num_rows)
    run.embedded += done.vectors
    return done


def _embedded(run: Run, missing: Missing, encoder: EncoderSection) -> Iterator[tuple[Partition, Embedded]]:
    work = partial(
        partitions.embed_pictures,
        store=run.request.store,
        encoder=encoder,
        policy=run.request.policy,
        threads=run.cluster.threads,
        device=run.request.embed_device,
    )
    return map_partitions(
        run.cluster,
        work,
        _partitions(run, missing),
        on_poison=_killed_worker,
        columns=("image_hash", "image"),
        deadline=run.deadline,
        resources=run.request.embed_resources,
    )


def _partitions(run: Run, missing: Missing) -> Iterator[Partition]:
    size = partition_size(missing.count, run.cluster.worker_count(), run.request.partition)
    parts = regrouped(missing.pictures.tables(), size, weigh=_bytes_of, most_weight=run.request.partition_bytes)
    for number, part in enumerate(parts):
        yield Partition(f"embed-{number}", part)


def partition_size(pictures: int, workers: int, most: int) -> int:
    """Return how many pictures a worker takes at a time."""
    fair = -(-pictures // (PARTITIONS_PER_WORKER * max(workers, 1)))
    return max(1, min(most, max(LEAST_PICTURES, fair)))


def _bytes_of(pictures: pa.Table) -> list[int]:
    return [_bytes(version) for version in pictures["image_version"].to_pylist()]


def _bytes(version: str | None) -> int:
    """Return a picture's size, with which the version of a file and of an object in S3 begins."""
    size, separator, _ = (version or "").partition("-")
    return int(size) if separator and size.isdecimal() else ASSUMED_BYTES


def _killed_worker(pictures: pa.Table) -> Embedded:
    image_hash, reference = pictures["image_hash"][0].as_py(), pictures["image"][0].as_py()
    return Embedded(0, (pipeline.Reject(image_hash.hex(), reference, "encode", "killed_worker", KILLED),))


def _take_rejects(rejected: PartitionedTable, partition: Partition, rejects: Sequence[pipeline.Reject]) -> None:
    if not rejects:
        return
    run_log(__name__).info(
        "partition %s: %s of %s pictures cannot be used, such as %s: %s",
        partition.name,
        len(rejects),
        partition.rows.num_rows,
        rejects[0].reference,
        rejects[0].message,
    )
    hashes = [bytes.fromhex(reject.key) for reject in rejects]
    columns = [[getattr(reject, name) for reject in rejects] for name in ("stage", "reason", "message")]
    table = pa.table([hashes, *columns], schema=_REJECTED)
    rejected.add(table, hash_buckets(positions(np.array(hashes, "V32"))))


def product_rejects(products: pa.Table, rejected: pa.Table) -> Iterator[Reject]:
    """Yield a reject for each product that shows a picture without a vector."""
    found = {row["image_hash"]: row for row in rejected.to_pylist()}
    columns = (products[name].to_pylist() for name in ("id", "image", "image_version", "image_hash"))
    for product, reference, version, image_hash in zip(*columns, strict=True):
        row = found[image_hash]
        lasting = version or "" if row["stage"] == "decode" else ""  # another reading or encoding may go better
        yield Reject(product, reference, row["stage"], row["reason"], row["message"], lasting)
