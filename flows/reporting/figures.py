"""The table of a run's figures, beside those of the runs before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prefect.artifacts import create_table_artifact

from lookalike.data.reports import RunReport
from lookalike.flows.reporting.show import NOTHING, artifact_key, duration, for_show, plain, size

EARLIER_RUNS = 5


@for_show
def figures_table(report: RunReport, earlier: Sequence[RunReport]) -> None:
    """Show this run's figures beside those of earlier ones, given newest first: a row for each figure."""
    columns = {"this run": _figures(report)} | dict(_titled(earlier[:EARLIER_RUNS]))
    names = dict.fromkeys(name for figures in columns.values() for name in figures)
    rows = [
        {"figure": name, **{title: figures.get(name, NOTHING) for title, figures in columns.items()}} for name in names
    ]
    what = f"**{report.kind} of {plain(report.catalogue)}: {report.state}.**{_said(report)}"
    create_table_artifact(rows, key=artifact_key("figures", report.channel), description=what)


def _said(report: RunReport) -> str:
    said = f" {plain(report.message.rstrip('.'))}." if report.message else ""
    if not report.snapshot:
        return said
    code = f"`{report.snapshot}`"
    return said.replace(report.snapshot, code) if report.snapshot in said else f"{said} Snapshot {code}."


def _titled(runs: Sequence[RunReport]) -> Iterator[tuple[str, dict[str, str]]]:
    for run in runs:
        minute = f"{run.started_at:%d %b %H:%M}"
        alone = sum(f"{other.started_at:%d %b %H:%M}" == minute for other in runs) == 1
        yield minute if alone else f"{minute}:{run.started_at:%S}", _figures(run)


def _figures(run: RunReport) -> dict[str, str]:
    counts = (
        "products",
        "added",
        "changed_pictures",
        "changed_text",
        "removed",
        "embedded",
        "reused",
        "unseen",
        "rejected",
    )
    return {
        "kind": run.kind,
        "state": run.state,
        "snapshot": f"…{run.snapshot[-8:]}" if run.snapshot else NOTHING,  # whole ones leave no room for other runs
        **{name.replace("_", " "): f"{getattr(run, name):,}" for name in counts},
        "index": plain(run.index) if run.index else NOTHING,
        "shards": f"{run.shards:,}",
        "size": NOTHING if run.bytes is None else size(run.bytes),
        **{plain(name): f"{value:,.4g}" for name, value in run.figures.items()},
        "whole run": duration(run.seconds),
        **{f"stage {plain(name)}": duration(seconds) for name, seconds in run.stage_seconds.items()},
        "task runs": NOTHING if run.task_runs is None else f"{run.task_runs:,}",
        "flow's peak memory": NOTHING if run.flow_peak_bytes is None else size(run.flow_peak_bytes),
        "a worker's peak memory": NOTHING if run.worker_peak_bytes is None else size(run.worker_peak_bytes),
    }
