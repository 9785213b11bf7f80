"""Colours: those of pictures that were embedded without, on Dask."""

from __future__ import annotations

from functools import partial

from lookalike.flows.runtime.partitions import Partition, map_partitions
from lookalike.flows.runtime.progress import run_log, stage_progress
from lookalike.flows.runtime.run import Run, stage
from lookalike.tasks.embed.colours import find_pictures_without_colours, leave_out, measure_pictures
from lookalike.tasks.embed.work import cut_partitions
from lookalike.tasks.resolve import ResolvedCatalogue, ResolvedDelta


@stage("colours")
def measure(run: Run, resolved: ResolvedCatalogue | ResolvedDelta, *, wanted: bool) -> None:
    """Measure the colours of the pictures that have none yet: each picture once, whatever its encoder is."""
    if not wanted:
        return
    request, workspace, settings = run.request, run.workspace, run.request.settings
    left = find_pictures_without_colours(resolved.tables(), workspace.store, workspace.new_table)
    if not left.count:
        return
    parts = cut_partitions(
        left,
        workers=workspace.cluster.worker_count(),
        most=settings.batch_partition,
        most_bytes=settings.batch_partition_bytes,
    )
    measured = 0
    with stage_progress("colours") as progress:
        progress.expect(left.count)
        for partition, count in map_partitions(
            workspace.cluster,
            partial(measure_pictures, store=request.store, policy=request.policy),
            (Partition(f"colours-{number}", part) for number, part in enumerate(parts)),
            on_poison=leave_out,
            columns=("image_hash", "image"),
            deadline=workspace.deadline,
        ):
            measured += count
            progress.advance(partition.rows.num_rows)
    run_log(__name__).info(
        "colours: measured of %s pictures that had none, %s cannot be read again",
        f"{measured:,}",
        f"{left.count - measured:,}",
    )
