"""Embed: vectors for what has none, on Dask."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from prefect.runtime import task_run

from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.flows.runtime.partitions import Partition, map_partitions
from lookalike.flows.runtime.progress import run_log, stage_progress
from lookalike.flows.runtime.run import Run, stage
from lookalike.tasks.embed.work import (
    Embedded,
    EmbedResult,
    ToEmbed,
    cut_partitions,
    embed_pictures,
    find_pictures_left,
    reject_unembedded,
)
from lookalike.tasks.encoders.stored import store_encoder
from lookalike.tasks.published import Published


@stage("encoder")
def prepare_encoder(run: Run, published: Published) -> EncoderSection:
    """Bring the encoder into the store, exported once."""
    encoder = store_encoder(run.workspace.store, run.encoder_name(published))
    run_log(__name__).info("encoder: %s, fingerprint %s", encoder.name, encoder.fingerprint)
    return encoder


@stage("embed")
def embed(run: Run, to_embed: ToEmbed, encoder: EncoderSection) -> EmbedResult:
    """Embed pictures on Dask; where the stage is tried again, what the tries before have left."""
    workspace, left = run.workspace, to_embed
    if (task_run.run_count or 0) > 1:
        left = find_pictures_left(to_embed, workspace.embeddings(encoder), workspace.new_table)
    result = EmbedResult(workspace.new_table("unembedded"))
    result.vectors = to_embed.count - left.count
    with stage_progress("embed") as progress:
        progress.expect(left.count)
        for partition, embedded in _embed_partitions(run, left, encoder) if left.count else ():
            result.add(embedded.vectors, embedded.rejects)
            _log_rejects(partition, embedded)
            progress.advance(partition.rows.num_rows)
    run.journal.embedded += result.vectors
    return result


def _embed_partitions(run: Run, to_embed: ToEmbed, encoder: EncoderSection) -> Iterator[tuple[Partition, Embedded]]:
    request, cluster, settings = run.request, run.workspace.cluster, run.request.settings
    parts = cut_partitions(
        to_embed,
        workers=cluster.worker_count(),
        most=settings.batch_partition,
        most_bytes=settings.batch_partition_bytes,
    )
    return map_partitions(
        cluster,
        partial(
            embed_pictures,
            store=request.store,
            encoder=encoder,
            policy=request.policy,
            threads=cluster.threads,
            device=settings.embed_device,
            colours=settings.colours,
        ),
        (Partition(f"embed-{number}", part) for number, part in enumerate(parts)),
        on_poison=reject_unembedded,
        columns=("image_hash", "image"),
        deadline=run.workspace.deadline,
        resources=settings.embed_resources(),
    )


def _log_rejects(partition: Partition, embedded: Embedded) -> None:
    if embedded.rejects:
        first = embedded.rejects[0]
        run_log(__name__).info(
            "partition %s: %s of %s pictures cannot be used, such as %s: %s",
            partition.name,
            len(embedded.rejects),
            partition.rows.num_rows,
            first.reference,
            first.message,
        )
