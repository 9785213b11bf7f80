"""The end of a reindex: the manifest, the channel's move, and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger
from pydantic import BaseModel

from data import publishing
from data.manifest import (
    CatalogueSection,
    EncoderSection,
    IndexSection,
    Manifest,
    content_hash,
    snapshot_id,
)
from data.rejects import write_rejects
from flows.run import Run
from flows.stage import stage
from tasks.indexing.planning import Plan
from tasks.partitions import Measured, Shard, Trained

SHOWN_REJECTS = 50


class Report(BaseModel):
    """What a reindex did.

    Attributes:
        snapshot: the one that was made, or the published one where nothing changed.
        published: whether the channel was moved to it by this run.
        unchanged: whether the published snapshot already answers as a new one would.
        refused: why it was not published, where a limit was not reached.
        embedded, reused: pictures embedded by this run, and those whose vector was there.
    """

    snapshot: str
    published: bool
    unchanged: bool
    refused: list[str]
    channel: str
    products: int
    embedded: int
    reused: int
    rejected: int
    rejects: str
    shards: int
    index: str
    recall_at_10: float
    query_ms: float
    seconds: float


@stage("gate")
def gate(run: Run, products: pa.Table, measured: Measured) -> list[str]:
    """Return the reasons not to publish; none where the snapshot may go out."""
    limits = run.request.limits
    rejected = len(run.rejects) / (products.num_rows + len(run.rejects))
    gone = vanished(run.previous, products)
    checks = {
        f"recall@10 is {measured.recall:.3f}, the limit is {limits.min_recall}": measured.recall < limits.min_recall,
        f"{rejected:.0%} of the catalogue cannot be used, the limit is {limits.max_rejected:.0%}": (
            rejected > limits.max_rejected
        ),
        f"{gone:.0%} of the last snapshot's products are gone, the limit is {limits.max_vanished:.0%}": (
            gone > limits.max_vanished
        ),
    }
    reasons = [reason for reason, failed in checks.items() if failed]
    for reason in reasons:
        get_run_logger().error("gate: not published: %s", reason)
    return reasons


def vanished(previous: pa.Table | None, products: pa.Table) -> float:
    """Return the share of the previous products that are no longer there."""
    if previous is None or not previous.num_rows:
        return 0.0
    kept: int = pc.sum(pc.is_in(previous["id"], value_set=products["id"].combine_chunks())).as_py()
    return 1 - kept / int(previous.num_rows)


@stage("publish")
def publish(
    run: Run,
    catalogue: CatalogueSection,
    encoder: EncoderSection,
    index: IndexSection,
    shards: Sequence[Shard],
    measured: Measured,
    refused: Sequence[str],
) -> Manifest:
    """Write the manifest, then point the channel at it; a refused snapshot is kept, unpublished."""
    sections = tuple(shard.section for shard in shards)
    content = content_hash(catalogue, encoder, index, sections)
    manifest = Manifest(
        id=snapshot_id(run.started, content),
        content=content,
        created_at=run.started,
        code_version=run.code_version,
        run=run.id,
        parent=run.parent.id if run.parent else None,
        catalogue=catalogue,
        encoder=encoder,
        index=index,
        shards=sections,
        quality={"recall_at_10": measured.recall, "query_ms": 1000 * measured.seconds},
    )
    if refused or not run.request.publish:
        return publishing.store_snapshot(run.store, manifest)
    entry = publishing.publish(run.channel, manifest, after=run.entry, reason=f"reindex {run.id}")
    get_run_logger().info("publish: channel %r points at %s", run.channel.name, entry.snapshot)
    return manifest


@stage("report")
def report(run: Run, manifest: Manifest, *, embedded: int, pictures: int, refused: Sequence[str]) -> Report:
    """Write the rejects, and the figures for the Prefect UI."""
    unchanged = run.parent is not None and manifest.id == run.parent.id
    result = Report(
        snapshot=manifest.id,
        published=run.request.publish and not refused and not unchanged,
        unchanged=unchanged,
        refused=list(refused),
        channel=run.channel.name,
        products=manifest.products,
        embedded=embedded,
        reused=pictures - embedded,
        rejected=len(run.rejects),
        rejects=write_rejects(run.store, run.id, run.rejects),
        shards=len(manifest.shards),
        index=manifest.index.key,
        recall_at_10=manifest.quality["recall_at_10"],
        query_ms=manifest.quality["query_ms"],
        seconds=run.seconds(),
    )
    create_table_artifact(
        [{"figure": name, "value": _text(value)} for name, value in result],
        key="reindex",
        description=f"Reindex of {run.request.catalogue}: {_verdict(result)}",
    )
    create_markdown_artifact(_rejects_markdown(run), key="rejects", description=f"{len(run.rejects):,} rejects")
    get_run_logger().info("report: %s", _verdict(result))
    return result


def index_section(chosen: Plan, trained: Trained, measured: Measured, trained_on: int) -> IndexSection:
    """Return the manifest's description of the index."""
    return IndexSection(
        key=chosen.key,
        dimension=chosen.dimension,
        projection=trained.projection,
        trained=trained.index,
        trained_on=trained_on,
        nprobe=measured.nprobe,
        reason=chosen.reason,
    )


def _verdict(result: Report) -> str:
    if result.unchanged:
        return f"nothing changed, {result.snapshot} stays published"
    if result.refused:
        return f"snapshot {result.snapshot} was not published: {'; '.join(result.refused)}"
    if not result.published:
        return f"snapshot {result.snapshot} was made, and not published, as asked"
    return f"published {result.snapshot} with {result.products:,} products"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    if isinstance(value, list):
        return "; ".join(value) or "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _rejects_markdown(run: Run) -> str:
    if not run.rejects:
        return "Every product could be used."
    counts = Counter(reject.reason for reject in run.rejects)
    lines = ["| reason | products |", "|---|---|", *(f"| {reason} | {n:,} |" for reason, n in counts.most_common())]
    lines += ["", "| product | picture | stage | reason | |", "|---|---|---|---|---|"]
    lines += [
        f"| {' | '.join(map(_cell, (row.id, row.reference, row.stage, row.reason, row.message)))} |"
        for row in run.rejects[:SHOWN_REJECTS]
    ]
    if len(run.rejects) > SHOWN_REJECTS:
        lines.append(f"\n… and {len(run.rejects) - SHOWN_REJECTS:,} more in `rejects/{run.id}.parquet`")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:200]
