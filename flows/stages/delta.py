"""Delta: the shard and tombstones that a refresh puts on top of the last full build."""

from __future__ import annotations

from lookalike.data.snapshots.manifest import EncoderSection, Manifest, ShardSection
from lookalike.flows.runtime.progress import run_log
from lookalike.flows.runtime.run import Run, stage
from lookalike.tasks import delta
from lookalike.tasks.build.jobs import Measurement
from lookalike.tasks.resolve import ResolvedDelta


@stage("delta")
def build(
    run: Run, parent: Manifest, encoder: EncoderSection, resolved: ResolvedDelta
) -> tuple[list[ShardSection], Measurement]:
    """Build the delta and the tombstones; return all shards, and how well they answer.

    Raises `CorruptError` and `NotFoundError` where a file of the parent is damaged or lost.
    """
    shards, measured = delta.build(run.workspace.store, run.request.store, encoder, parent, resolved)
    run_log(__name__).info(
        "delta: %s products, %s tombstones, recall@10 %.3f",
        f"{sum(shard.count for shard in shards if shard.delta):,}",
        f"{sum(shard.dead for shard in shards):,}",
        measured.recall,
    )
    return shards, measured
