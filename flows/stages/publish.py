"""Begin, compare, gate and publish: where the channel is, whether a snapshot may go out, and the channel's move."""

from __future__ import annotations

from lookalike.data.catalogue.rejects import describe_rejects
from lookalike.data.snapshots import publishing
from lookalike.data.snapshots.manifest import Manifest
from lookalike.flows.runtime.progress import run_log
from lookalike.flows.runtime.run import Run, stage
from lookalike.tasks.build import compare as comparing
from lookalike.tasks.build.compare import Comparison
from lookalike.tasks.gate import find_reasons_not_to_publish
from lookalike.tasks.published import Published, read_published
from lookalike.tasks.resolve import Resolved


@stage("begin")
def begin(run: Run) -> Published:
    """See where the channel is before anything else: whoever moves it later knows better, and is not overridden."""
    published = read_published(run.workspace.channel)
    at = published.entry.snapshot if published.entry else "no snapshot"
    run_log(__name__).info("begin: channel %r points at %s", run.request.channel, at)
    if held := published.why_held():
        run_log(__name__).warning("begin: %s", held)
    if published.problem:
        run_log(__name__).warning("the published snapshot cannot be built upon: %s", published.problem)
    return published


@stage("compare")
def compare(run: Run, parent: Manifest | None, manifest: Manifest) -> Comparison | None:
    """Search the new snapshot beside the published one; None where they are too large for one worker."""
    if not comparing.is_comparable(parent, manifest):
        run_log(__name__).info("compare: left out, the snapshots have more than %s bytes", comparing.MOST_BYTES)
        return None
    found = run.workspace.on_worker(
        comparing.compare,
        run.request.store,
        parent,
        manifest,
        policy=run.request.policy,
        threads=run.workspace.cluster.threads_of(1),
    )
    if found.problem:
        run_log(__name__).warning("compare: the published snapshot is left out, it is not whole: %s", found.problem)
    if found.overlap is not None:
        run_log(__name__).info(
            "compare: %.0f %% of the last snapshot's first hits are found again", 100 * found.overlap
        )
    return found


@stage("gate")
def gate(
    run: Run, parent: Manifest | None, manifest: Manifest, resolved: Resolved, overlap: float | None = None
) -> Manifest:
    """Return the manifest with the reasons not to publish it; with none where it may go out."""
    reasons = find_reasons_not_to_publish(
        run.request.limits,
        manifest,
        parent,
        rejected=resolved.rejected,
        removed=resolved.changes.removed,
        overlap=overlap,
        why_rejected=describe_rejects(list(run.journal.rejects.values())),
    )
    for reason in reasons:
        run_log(__name__).error("gate: not published: %s", reason)
    return manifest.model_copy(update={"refused": tuple(reasons)})


@stage("publish")
def publish(run: Run, published: Published, manifest: Manifest) -> Manifest:
    """Write the manifest, then point the channel at it; a refused snapshot is kept, unpublished, with the reasons."""
    if manifest.refused or not run.request.publish:
        return publishing.store_snapshot(run.workspace.store, manifest)
    reason = f"{run.journal.kind} {run.journal.run}"
    entry = publishing.publish(run.workspace.channel, manifest, after=published.entry, reason=reason)
    run.journal.published = entry.snapshot
    run_log(__name__).info("publish: channel %r points at %s", run.request.channel, entry.snapshot)
    return manifest
