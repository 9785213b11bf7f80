"""How a run ends, as the Prefect UI lists it: `Published`, `Unchanged` or `Refused`, with a few figures.

A run that a limit refused is no success: its state is of the type "failed". It is no error either: who runs a flow
here and now gets its report.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import prefect.runtime
from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from lookalike.data.reports import RunReport

REFUSED = "Refused"


def end_state(report: RunReport) -> State[RunReport]:
    """Return the state of a flow that came to its end."""
    if report.state == "refused":
        return Failed(name=REFUSED, message="; ".join(report.refused), data=report)
    return Completed(name=report.state.capitalize(), message=_describe(report), data=report)


def run_here(flow: Flow[..., State[RunReport]], *args: Any, **parameters: Any) -> RunReport:
    """Run a flow in this process; return its report, also where a limit refused it. Raises what the flow raises."""
    state: State[RunReport] = flow(*args, **parameters, return_state=True)
    if state.name == REFUSED:
        return cast("RunReport", cast("Any", state.data).result)
    return state.result()


def name_run(flow: str) -> Callable[[], str]:
    """Return what names the runs of a flow: by the channel and the day."""

    def name() -> str:
        parameters = prefect.runtime.flow_run.parameters
        return f"{flow}-{parameters.get('channel')}-{datetime.now(UTC):%Y-%m-%d}"

    return name


def _describe(report: RunReport) -> str:
    if report.state == "skipped":
        return report.message
    changed = report.changed_pictures + report.changed_text
    counts = {"+": report.added, "~": changed, "-": report.removed}
    moved = " ".join(f"{sign}{count:,}" for sign, count in counts.items() if count)
    rejected = f"{report.rejected:,} rejected" if report.rejected else ""
    return ", ".join(filter(None, [moved, f"{report.products:,} products", rejected]))
