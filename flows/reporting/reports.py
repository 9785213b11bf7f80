"""The report of a run: what it did, composed from its journal and from what its stages returned."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import prefect.runtime
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError

from lookalike.data.reports import Kind, RunReport, State
from lookalike.data.snapshots.manifest import Manifest
from lookalike.flows.runtime.cluster import peak_bytes
from lookalike.flows.runtime.progress import run_log
from lookalike.flows.runtime.request import Request
from lookalike.flows.runtime.run import Journal, Run
from lookalike.tasks.build.compare import Comparison
from lookalike.tasks.resolve import Resolved
from lookalike.tasks.scan.join import ADDED, PICTURE, TEXT
from lookalike.tasks.scan.scan import ScanResult


class Outcome:
    """What a run's stages came to.

    Attributes:
        manifest: the snapshot that was made; of a run that changes nothing, the published one.
        is_new: whether this run made it.
        comparison: with the published snapshot; None where there was none.
    """

    def __init__(
        self,
        manifest: Manifest,
        scanned: ScanResult,
        resolved: Resolved,
        *,
        is_new: bool = True,
        comparison: Comparison | None = None,
    ) -> None:
        self.manifest = manifest
        self.scanned = scanned
        self.resolved = resolved
        self.is_new = is_new
        self.comparison = comparison

    def state(self, request: Request) -> State:
        """Return how a run with this outcome ends."""
        if not self.is_new:
            return "unchanged"
        if self.manifest.refused:
            return "refused"
        return "published" if request.publish else "unpublished"


def compose_report(run: Run, outcome: Outcome, *, rejects: str) -> RunReport:
    """Return the report of a run that came to its end; `rejects` is the object that lists what was left out."""
    manifest, changes, comparison = outcome.manifest, outcome.resolved.changes, outcome.comparison
    state = outcome.state(run.request)
    overlap = {} if comparison is None or comparison.overlap is None else {"overlap_at_10": comparison.overlap}
    return RunReport(
        **_compose_common(run, state, describe_outcome(state, outcome)),
        snapshot=manifest.id,
        products=manifest.products,
        added=changes.counts[ADDED],
        changed_pictures=changes.counts[PICTURE],
        changed_text=changes.counts[TEXT],
        removed=changes.removed,
        embedded=run.journal.embedded,
        reused=max(0, outcome.resolved.pictures - run.journal.embedded),
        unseen=outcome.scanned.unseen,
        reject_reasons=dict(sum((log.counts for log in run.journal.rejects.values()), Counter[str]())),
        rejects=rejects,
        notes=[*outcome.scanned.findings.notes, *run.journal.notes],
        attributes=outcome.scanned.findings.attributes,
        refused=list(manifest.refused) if state == "refused" else [],
        shards=len(manifest.shards),
        index=manifest.index.key,
        bytes=sum(blob.size for blob in set(manifest.blobs())),
        figures={**manifest.quality, **overlap},
        task_runs=_count_task_runs(),
        workers_lost=run.workspace.cluster.workers_lost(),
        worker_peak_bytes=run.workspace.cluster.worker_peak_bytes(),
        contact_sheet=comparison.contact_sheet if comparison else None,
    )


def compose_short_report(run: Run, state: State, message: str) -> RunReport:
    """Return the report of a run that did not come to its end, or whose report failed."""
    return RunReport(**_compose_common(run, state, message), snapshot=run.journal.published)


def compose_skipped_report(kind: Kind, request: Request, message: str) -> RunReport:
    """Return the report of a run that left its channel alone: another run has it, or a person holds it."""
    journal = Journal(kind)
    return RunReport(
        run=journal.run,
        kind=kind,
        state="skipped",
        channel=request.channel,
        catalogue=request.shown_catalogue,
        message=message,
        started_at=journal.started,
    )


def describe_outcome(state: State, outcome: Outcome) -> str:
    """Return one sentence for a person."""
    unseen = outcome.scanned.unseen
    stay = f"; {unseen:,} pictures could not be looked at: their products stay as they were" if unseen else ""
    return f"{_describe_snapshot(state, outcome.manifest)}{stay}"


def _describe_snapshot(state: State, manifest: Manifest) -> str:
    if state == "unchanged":
        return f"nothing changed, {manifest.id} stays published"
    if state == "refused":
        return f"snapshot {manifest.id} was not published: {'; '.join(manifest.refused)}"
    if state == "unpublished":
        return f"snapshot {manifest.id} was made, and not published, as asked"
    return f"published {manifest.id} with {manifest.products:,} products"


def _compose_common(run: Run, state: State, message: str) -> dict[str, Any]:
    return {
        "run": run.journal.run,
        "kind": run.journal.kind,
        "state": state,
        "channel": run.request.channel,
        "catalogue": run.request.shown_catalogue,
        "message": message,
        "started_at": run.journal.started,
        "seconds": run.journal.seconds(),
        "stage_seconds": run.journal.stage_seconds,
        "rejected": run.journal.rejected,
        "stages_retried": run.journal.stages_retried,
        "partitions_retried": run.workspace.cluster.partitions_retried,
        "flow_peak_bytes": peak_bytes(),
    }


def _count_task_runs() -> int | None:
    """Return how many task runs Prefect recorded for this flow run so far; None where it does not say."""
    if not (flow_run := prefect.runtime.flow_run.id):
        return None
    body: dict[str, Any] = {"task_runs": {"flow_run_id": {"any_": [str(flow_run)]}}}
    try:
        with get_client(sync_client=True) as client:
            count: int = client.request("POST", "/task_runs/count", json=body).json()
    except (httpx.HTTPError, PrefectHTTPStatusError, ValueError) as error:
        run_log(__name__).warning("report: Prefect does not say how many task runs there were: %s", error)
        return None
    return count
