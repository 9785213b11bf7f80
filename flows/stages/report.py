"""Report: what a run did, for people, for machines, and for the run after it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import httpx
import prefect.runtime
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError

from lookalike.data.catalogue.image_hashes import forget_hashes
from lookalike.data.catalogue.rejects import store_rejects
from lookalike.data.errors import StoreError
from lookalike.data.reports import RunReport, State, last_state, recent_reports, write_report
from lookalike.data.snapshots.manifest import Manifest
from lookalike.flows.reporting import artifacts
from lookalike.flows.reporting.metrics import push_metrics
from lookalike.flows.reporting.notifications import notify
from lookalike.flows.runtime.cluster import peak_bytes
from lookalike.flows.runtime.logs import run_log
from lookalike.flows.runtime.run import Request, Run
from lookalike.flows.runtime.settings import BatchSettings
from lookalike.flows.runtime.stage import stage
from lookalike.flows.stages.resolve import Changes, Recorded
from lookalike.flows.stages.scan import Found
from lookalike.tasks.build.compare import Comparison
from lookalike.tasks.scan import ADDED, PICTURE, TEXT


class Outcome:
    """What a run's stages came to."""

    def __init__(self, manifest: Manifest, state: State, found: Found, recorded: Recorded) -> None:
        self.manifest = manifest
        self.state = state
        self.found = found
        self.recorded = recorded
        self.comparison: Comparison | None = None


def report(run: Run, outcome: Outcome) -> RunReport:
    """Store what the run did; show it in the Prefect UI, tell Prometheus, and people where it is worth it.

    Once the channel was moved, what fails here is only logged: servers have the snapshot already.
    """
    try:
        return _whole_report(run, outcome)
    except Exception as error:
        if run.moved_to is None:
            raise
        run_log(__name__).exception("the report of this run is not whole; the channel points at %s", run.moved_to)
        message = f"{_sentence(outcome)}; its report is not whole: {error}"
        result = _bare_report(run, outcome.state, message).model_copy(update={"products": outcome.manifest.products})
        _keep(run, result)
        return result


@stage("report")
def _whole_report(run: Run, outcome: Outcome) -> RunReport:
    rejects = store_rejects(run.store, run.id, run.rejects.values(), run.scratch)
    result = _report(run, outcome, rejects)
    if outcome.state == "published":
        forget_hashes(run.store, outcome.found.superfluous())
    earlier = _earlier(run)
    write_report(run.store, result)
    _show(run, outcome, result, earlier)
    _tell(run, result)
    run_log(__name__).info("report: %s", result.message)
    return result


def skipped(request: Request, message: str) -> RunReport:
    """Return the report of a run that had nothing to do, because another one did it."""
    started = datetime.now(UTC)
    run = f"{started:%Y%m%dT%H%M%SZ}-{(prefect.runtime.flow_run.id or 'local')[:8]}"
    return RunReport(
        run=run,
        kind=request.kind,
        state="skipped",
        channel=request.channel,
        catalogue=request.catalogue,
        message=message,
        started_at=started,
    )


def report_failure(run: Run, state: State, message: str) -> None:
    """Do the same for a run that did not come to its end. What fails here is only logged: the failure itself counts."""
    _keep(run, _bare_report(run, state, message))


def _bare_report(run: Run, state: State, message: str) -> RunReport:
    return RunReport(
        run=run.id,
        kind=run.request.kind,
        state=state,
        channel=run.request.channel,
        catalogue=run.request.catalogue,
        snapshot=run.moved_to,
        message=message,
        started_at=run.started,
        seconds=run.seconds(),
        stage_seconds=run.stage_seconds,
        rejected=run.rejected,
        flow_peak_bytes=peak_bytes(),
    )


def _keep(run: Run, result: RunReport) -> None:
    try:
        write_report(run.store, result)
        _tell(run, result)
    except (StoreError, OSError) as error:
        run_log(__name__).error("the report of this run could not be stored: %s", error)


def _earlier(run: Run) -> list[RunReport]:
    reports = recent_reports(run.store, run.request.channel, artifacts.EARLIER_RUNS + 1)
    return [one for one in reports if one.run != run.id][: artifacts.EARLIER_RUNS]


def _tell(run: Run, result: RunReport) -> None:
    settings = BatchSettings()
    push_metrics(settings, result)
    notify(result, last_state(run.store, result), settings.notify_blocks())


def _report(run: Run, outcome: Outcome, rejects: str) -> RunReport:
    manifest, recorded, comparison = outcome.manifest, outcome.recorded, outcome.comparison
    overlap = {} if comparison is None or comparison.overlap is None else {"overlap_at_10": comparison.overlap}
    return RunReport(
        run=run.id,
        kind=run.request.kind,
        state=outcome.state,
        channel=run.request.channel,
        catalogue=run.request.catalogue,
        snapshot=manifest.id,
        message=_sentence(outcome),
        started_at=run.started,
        seconds=run.seconds(),
        stage_seconds=run.stage_seconds,
        products=manifest.products,
        added=recorded.changes.counts[ADDED],
        changed_pictures=recorded.changes.counts[PICTURE],
        changed_text=recorded.changes.counts[TEXT],
        removed=recorded.changes.removed,
        embedded=run.embedded,
        reused=max(0, recorded.pictures - run.embedded),
        unseen=outcome.found.unseen,
        rejected=run.rejected,
        reject_reasons=dict(sum((log.counts for log in run.rejects.values()), Counter[str]())),
        rejects=rejects,
        refused=list(manifest.refused) if outcome.state == "refused" else [],
        shards=len(manifest.shards),
        index=manifest.index.key,
        bytes=sum(blob.size for blob in set(manifest.blobs())),
        figures={**manifest.quality, **overlap},
        task_runs=_task_runs(),
        flow_peak_bytes=peak_bytes(),
        worker_peak_bytes=run.cluster.worker_peak_bytes(),
        contact_sheet=comparison.contact_sheet if comparison else None,
    )


def _show(run: Run, outcome: Outcome, result: RunReport, earlier: list[RunReport]) -> None:
    artifacts.figures_table(result, earlier)
    artifacts.catalogue_diff(result, _samples(outcome.recorded.changes))
    artifacts.rejects_table(
        result.channel,
        [reject for log in run.rejects.values() for reject in log.first],
        total=result.rejected,
        reasons=result.reject_reasons,
        stored=result.rejects,
    )
    if result.contact_sheet:
        artifacts.contact_sheet_artifact(
            result.channel, run.store.read(result.contact_sheet), stored=result.contact_sheet, store=run.store.uri
        )
    artifacts.snapshot_link(result, run.store.uri, BatchSettings().search_url)


def _samples(changes: Changes) -> dict[str, list[str]]:
    return {
        "added": changes.samples[ADDED],
        "changed_pictures": changes.samples[PICTURE],
        "changed_text": changes.samples[TEXT],
        "removed": changes.removed_sample,
    }


def _sentence(outcome: Outcome) -> str:
    unseen = outcome.found.unseen
    stay = f"; {unseen:,} pictures could not be looked at: their products stay as they were" if unseen else ""
    return f"{_what_became(outcome)}{stay}"


def _what_became(outcome: Outcome) -> str:
    manifest = outcome.manifest
    if outcome.state == "unchanged":
        return f"nothing changed, {manifest.id} stays published"
    if outcome.state == "refused":
        return f"snapshot {manifest.id} was not published: {'; '.join(manifest.refused)}"
    if outcome.state == "unpublished":
        return f"snapshot {manifest.id} was made, and not published, as asked"
    return f"published {manifest.id} with {manifest.products:,} products"


def _task_runs() -> int | None:
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
