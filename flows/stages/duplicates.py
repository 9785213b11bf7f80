"""Duplicates: which products show the same, reported to people and kept for queries."""

from __future__ import annotations

from lookalike.data.errors import CorruptError, NotFoundError
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.manifest import Manifest
from lookalike.flows.reporting import artifacts
from lookalike.flows.runtime.partitions import gather
from lookalike.flows.runtime.progress import run_log
from lookalike.flows.runtime.run import Run, stage
from lookalike.tasks.build import duplicates
from lookalike.tasks.build.duplicates import InheritedPairs


@stage("duplicates")
def find(run: Run, parent: Manifest | None, manifest: Manifest) -> Manifest:
    """Look for near-duplicates in what was built, each worker those of its shards; return the manifest with them."""
    asked = run.request.settings.near_duplicates
    threshold = duplicates.choose_threshold(manifest.image) if asked is None else asked
    if reason := _not_looked(manifest, threshold):
        run_log(__name__).info("duplicates: not looked for: %s", reason)
        return manifest
    pairs = _find_pairs(run, parent, manifest, threshold)
    found = run.workspace.on_worker(duplicates.group_duplicates, run.request.store, manifest, pairs, threshold)
    run_log(__name__).info(
        "duplicates: %s products share a picture, %s groups of near-duplicates",
        f"{found.exact:,}",
        f"{found.section.count if found.section else 0:,}",
    )
    artifacts.duplicates_table(run.request.channel, found.section, found.examples)
    return manifest.model_copy(update={"duplicates": found.section, "quality": {**manifest.quality, **found.figures()}})


def _find_pairs(run: Run, parent: Manifest | None, manifest: Manifest, threshold: float) -> list[Blob]:
    """Return the stored pairs of near-duplicates: those that are known to hold still, and those of what is new."""
    cluster, store, known = run.workspace.cluster, run.request.store, []
    asked = None
    if inherited := _inherit(run, parent, manifest, threshold):
        if inherited.asked is None:
            return [inherited.pairs]
        known, asked = [inherited.pairs], inherited.asked
    shares = min(len(manifest.shards), max(1, cluster.worker_count()))
    threads = cluster.threads_of(shares)
    futures = [
        cluster.client.submit(
            duplicates.find_near_pairs,
            *(store, manifest, range(share, len(manifest.shards), shares), threshold),
            threads=threads,
            asked=asked,
            pure=False,
        )
        for share in range(shares)
    ]
    return known + gather(cluster, futures, run.workspace.deadline)


def _inherit(run: Run, parent: Manifest | None, manifest: Manifest, threshold: float) -> InheritedPairs | None:
    if parent is None or run.request.full or not duplicates.is_inheritable(parent, manifest, threshold):
        return None
    try:
        return run.workspace.on_worker(duplicates.inherit_pairs, run.request.store, manifest, parent)
    except (CorruptError, NotFoundError) as error:
        run_log(__name__).warning("duplicates: looked for again, those of the published snapshot are lost: %s", error)
        return None


def _not_looked(manifest: Manifest, threshold: float) -> str | None:
    if not threshold:
        return "LOOKALIKE_NEAR_DUPLICATES is 0"
    if manifest.projection is None:  # scores mean something else there
        return f"{manifest.products} products are too few to learn what tells them apart"
    return None
