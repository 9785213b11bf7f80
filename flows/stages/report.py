"""Report: what a run did, for people, for machines, and for the run after it."""

from __future__ import annotations

from lookalike.data.catalogue.normalised import forget_hashes
from lookalike.data.catalogue.rejects import store_rejects
from lookalike.data.errors import StoreError
from lookalike.data.reports import RunReport, State, last_state, recent_reports, write_report
from lookalike.flows.reporting.artifacts import EARLIER_RUNS, show_run
from lookalike.flows.reporting.metrics import push_metrics
from lookalike.flows.reporting.notifications import notify
from lookalike.flows.reporting.reports import Outcome, compose_report, compose_short_report, describe_outcome
from lookalike.flows.runtime.progress import run_log
from lookalike.flows.runtime.run import Run, stage


def report(run: Run, outcome: Outcome) -> RunReport:
    """Store what the run did; show it in the Prefect UI, tell Prometheus, and people where it is worth it.

    Once the channel was moved, what fails here is only logged: servers have the snapshot already.
    """
    try:
        return _report_outcome(run, outcome)
    except Exception as error:
        if run.journal.published is None:
            raise
        run_log(__name__).exception(
            "the report of this run is not whole; the channel points at %s", run.journal.published
        )
        state = outcome.state(run.request)
        message = f"{describe_outcome(state, outcome)}; its report is not whole: {error}"
        short = compose_short_report(run, state, message).model_copy(update={"products": outcome.manifest.products})
        _keep(run, short)
        return short


@stage("report")
def _report_outcome(run: Run, outcome: Outcome) -> RunReport:
    store, journal = run.workspace.store, run.journal
    rejects = store_rejects(store, journal.run, journal.rejects.values(), run.workspace.scratch)
    result = compose_report(run, outcome, rejects=rejects)
    if result.state == "published":
        forget_hashes(store, outcome.scanned.superfluous_files())
    earlier = _read_earlier(run)
    write_report(store, result)
    show_run(
        result,
        earlier,
        outcome.resolved.changes,
        [reject for log in journal.rejects.values() for reject in log.first],
        store=store,
        search_url=run.request.settings.search_url,
    )
    _announce(run, result)
    run_log(__name__).info("report: %s", result.message)
    return result


def report_failure(run: Run, state: State, message: str) -> None:
    """Report a run that did not come to its end. What fails here is only logged: the failure itself counts."""
    _keep(run, compose_short_report(run, state, message))


def _keep(run: Run, result: RunReport) -> None:
    try:
        write_report(run.workspace.store, result)
        _announce(run, result)
    except (StoreError, OSError) as error:
        run_log(__name__).error("the report of this run could not be stored: %s", error)


def _announce(run: Run, result: RunReport) -> None:
    settings = run.request.settings
    push_metrics(settings, result)
    notify(result, last_state(run.workspace.store, result), settings.notify_blocks())


def _read_earlier(run: Run) -> list[RunReport]:
    reports = recent_reports(run.workspace.store, run.request.channel, EARLIER_RUNS + 1)
    return [one for one in reports if one.run != run.journal.run][:EARLIER_RUNS]
