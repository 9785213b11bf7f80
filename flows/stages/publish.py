"""Gate and publish: whether a snapshot may go out, and the channel's move to it."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike.data.snapshots import publishing
from lookalike.data.snapshots.manifest import CatalogueSection, IndexSection, Manifest, ShardSection, SpaceSection
from lookalike.flows.runtime.logs import run_log
from lookalike.flows.runtime.partitions import gather
from lookalike.flows.runtime.run import Run
from lookalike.flows.runtime.stage import stage
from lookalike.flows.stages.resolve import Changes
from lookalike.tasks.build import compare as comparing
from lookalike.tasks.build.compare import Comparison
from lookalike.tasks.build.jobs import Measured


def draft(
    run: Run,
    catalogue: CatalogueSection,
    space: SpaceSection,
    shards: Sequence[ShardSection],
    measured: Measured,
) -> Manifest:
    """Return the manifest of what was built, which does not exist yet as a snapshot."""
    return Manifest.of(
        catalogue,
        space,
        shards,
        created_at=run.started,
        code_version=run.code_version,
        run=run.id,
        parent=run.parent.id if run.parent else None,
        quality={
            "recall_at_10": measured.recall,
            "query_ms": 1000 * measured.seconds,
            **_balance(run, measured, space.index),
        },
        # pictures of a delta are looked at by the next full build
        duplicates=run.parent.duplicates if run.parent and run.request.kind == "refresh" else None,
    )


def _balance(run: Run, measured: Measured, index: IndexSection) -> dict[str, float]:
    """Return how uneven inverted lists are, and were when trained: by both a run tells whether to train again."""
    if measured.imbalance is None:
        return {}
    kept = run.parent is not None and run.parent.index.trained == index.trained
    before = run.parent.quality.get("imbalance_when_trained") if run.parent and kept else None
    return {"imbalance": measured.imbalance, "imbalance_when_trained": before or measured.imbalance}


@stage("compare")
def compare(run: Run, manifest: Manifest) -> Comparison | None:
    """Search the new snapshot beside the published one; None where they are too large for one worker."""
    if not comparing.is_comparable(run.parent, manifest):
        run_log(__name__).info("compare: left out, the snapshots have more than %s bytes", comparing.MOST_BYTES)
        return None
    future = run.cluster.client.submit(
        comparing.compare,
        run.request.store,
        run.parent,
        manifest,
        policy=run.request.policy,
        threads=run.cluster.threads_of(1),
        pure=False,
    )
    found: Comparison = gather(run.cluster, [future], run.deadline)[0]
    if found.problem:
        run_log(__name__).warning("compare: the published snapshot is left out, it is not whole: %s", found.problem)
    if found.overlap is not None:
        run_log(__name__).info(
            "compare: %.0f %% of the last snapshot's first hits are found again", 100 * found.overlap
        )
    return found


@stage("gate")
def gate(run: Run, manifest: Manifest, changes: Changes, overlap: float | None = None) -> list[str]:
    """Return the reasons not to publish; none where the snapshot may go out."""
    reasons = [reason for reason, failed in _checks(run, manifest, changes, overlap).items() if failed]
    for reason in reasons:
        run_log(__name__).error("gate: not published: %s", reason)
    return reasons


def _checks(run: Run, manifest: Manifest, changes: Changes, overlap: float | None) -> dict[str, bool]:
    limits, recall = run.request.limits, manifest.quality["recall_at_10"]
    rejected = run.rejected / (manifest.products + run.rejected)
    before = run.parent.products if run.parent else 0
    vanished = changes.removed / before if before else 0.0
    growth = manifest.products / before if before else 1.0
    size = sum(blob.size for blob in set(manifest.blobs()))
    return {
        f"recall@10 is {recall:.3f}, the limit is {limits.min_recall}": recall < limits.min_recall,
        f"{rejected:.0%} of the catalogue cannot be used, the limit is {limits.max_rejected:.0%}": (
            rejected > limits.max_rejected
        ),
        f"{vanished:.0%} of the last snapshot's products are gone, the limit is {limits.max_vanished:.0%}": (
            vanished > limits.max_vanished
        ),
        f"there are {growth:.1f} times as many products as before, the limit is {limits.max_growth}": (
            growth > limits.max_growth
        ),
        f"the snapshot has {size:,} bytes, the limit is {limits.max_bytes or 0:,}": (
            limits.max_bytes is not None and size > limits.max_bytes
        ),
        f"{overlap or 0:.0%} of the first hits are those of the last snapshot, the limit is {limits.min_overlap:.0%}": (
            overlap is not None and overlap < limits.min_overlap
        ),
    }


@stage("publish")
def publish(run: Run, manifest: Manifest) -> Manifest:
    """Write the manifest, then point the channel at it; a refused snapshot is kept, unpublished, with the reasons."""
    if manifest.refused or not run.request.publish:
        return publishing.store_snapshot(run.store, manifest)
    entry = publishing.publish(run.channel, manifest, after=run.entry, reason=f"{run.request.kind} {run.id}")
    run.moved_to = entry.snapshot
    run_log(__name__).info("publish: channel %r points at %s", run.channel.name, entry.snapshot)
    return manifest
