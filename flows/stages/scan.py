"""Scan and diff: what there is, what moved, and what has no vector yet."""

from __future__ import annotations

from functools import partial
from itertools import chain

from lookalike.data.catalogue.findings import describe_attributes
from lookalike.data.partitioned import regroup
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.flows.runtime.partitions import Partition, map_partitions
from lookalike.flows.runtime.progress import run_log, stage_progress
from lookalike.flows.runtime.run import Run, stage
from lookalike.tasks.embed.work import ToEmbed, find_pictures_to_embed, hash_pictures, reject_unhashed
from lookalike.tasks.published import Published
from lookalike.tasks.scan.scan import CatalogueScan, ScanRequest, ScanResult

PICTURES_PER_PARTITION = 512


@stage("scan")
def scan(run: Run, published: Published, *, only_changes: bool) -> ScanResult:
    """Read the catalogue, beside what the published snapshot has; hash the pictures that moved."""
    request, workspace = run.request, run.workspace
    asked = ScanRequest(
        request.catalogue,
        request.policy,
        run.encoder_name(published),
        request.full,
        only_changes,
        request.columns,
        request.encoding,
    )
    rejects, moved = run.new_rejects("scan"), 0
    with stage_progress("scan") as progress:
        scanning = CatalogueScan(
            workspace.store, published, asked, new_table=workspace.new_table, rejects=rejects, progress=progress
        )
        parts = map(partial(regroup, most=PICTURES_PER_PARTITION), (scanning.unread(), scanning.unread_pictures()))
        unread = enumerate(chain.from_iterable(parts))
        for partition, hashes in map_partitions(
            workspace.cluster,
            partial(hash_pictures, store=request.store, policy=request.policy),
            (Partition(f"scan-{number}", part) for number, part in unread),
            on_poison=reject_unhashed,
            columns=("id", "image", "image_version"),
            deadline=workspace.deadline,
        ):
            moved += partition.rows.num_rows
            scanning.take_hashes(partition.rows, hashes)
            progress.advance(partition.rows.num_rows)
    _log_result(scanning.result, moved, rejects.total)
    return scanning.result


@stage("diff")
def diff(run: Run, scanned: ScanResult, encoder: EncoderSection) -> ToEmbed:
    """Return the pictures, each once, that have no vector under this encoder."""
    tables = [scanned.products, scanned.several.rows] if scanned.several else [scanned.products]
    to_embed = find_pictures_to_embed(tables, run.workspace.embeddings(encoder), run.workspace.new_table)
    run_log(__name__).info(
        "diff: %s pictures to embed, %s have their vector", f"{to_embed.count:,}", f"{to_embed.known:,}"
    )
    return to_embed


def _log_result(found: ScanResult, moved: int, rejected: int) -> None:
    log = run_log(__name__)
    log.info(
        "scan: %s products, %s pictures new or moved, %s rejected", f"{found.listed:,}", f"{moved:,}", f"{rejected:,}"
    )
    for note in found.findings.notes:
        log.info("scan: %s", note)
    for line in describe_attributes(found.findings):
        log.info("scan: %s", line)
    if found.published.problem:
        log.warning("the published snapshot cannot be built upon, all is rebuilt: %s", found.published.problem)
    if found.unseen:
        log.warning(
            "scan: %s pictures could not be looked at: their products stay as they are published", f"{found.unseen:,}"
        )
