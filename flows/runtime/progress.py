"""What a run says while it works: its log, and the progress of each stage.

Progress is an artifact in the Prefect UI, a bar on a terminal, a line in the log now and then. The log is the run's
where there is one; this process's own where a hook or a test calls.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lookalike.data.printable import escape_record

UI_SECONDS = 2.0
LOG_SECONDS = 15.0


class StageProgress:
    """Counts what is done; shows it where someone looks."""

    def __init__(self, stage: str, unit: str, bar: Progress) -> None:
        self._stage = stage
        self._unit = unit
        self._total = 0
        self._bar = bar
        self._row = bar.add_task(stage, total=None)
        self._artifact = cast("UUID", create_progress_artifact(0.0, key=f"progress-{stage}", description=stage))
        self._started = self._shown = self._logged = time.monotonic()
        self.done = 0

    def expect(self, total: int) -> None:
        """Say how much there is to do."""
        self._total = total
        self._started = time.monotonic()
        self._bar.update(self._row, total=total)
        if not total:
            self._show(self._started)

    def advance(self, count: int) -> None:
        """Count `count` more as done."""
        self.done += count
        self._bar.update(self._row, completed=self.done)
        now = time.monotonic()
        if now - self._shown > UI_SECONDS or self.done == self._total:
            self._show(now)
        if now - self._logged > LOG_SECONDS:
            self._logged = now
            run_log(__name__).info(self._sentence(now))

    def _show(self, now: float) -> None:
        self._shown = now
        share = 100 * self.done / self._total if self._total else 100.0
        update_progress_artifact(self._artifact, min(100.0, share), description=self._sentence(now))

    def _sentence(self, now: float) -> str:
        if not self._total:
            return f"{self._stage}: nothing to do"
        rate = self.done / max(now - self._started, 1e-9)
        left = (self._total - self.done) / max(rate, 1e-9)
        done = f"{self._stage}: {self.done:,} of {self._total:,} {self._unit}"
        return f"{done}, {rate:,.{0 if rate >= 10 else 1}f} a second, about {left:,.0f} s left"


@contextmanager
def stage_progress(stage: str, unit: str = "pictures") -> Iterator[StageProgress]:
    """Show the progress of one stage; `expect` says how much there is to do."""
    bar = Progress(
        TextColumn("  {task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    with bar:
        yield StageProgress(stage, unit, bar)


def run_log(name: str) -> logging.Logger | logging.LoggerAdapter[Any]:
    """Return the run's logger, whose lines the Prefect UI shows; outside of a run that of module `name`."""
    try:
        logger = get_run_logger()
    except MissingContextError:
        logger = logging.getLogger(name)
    named = logger.logger if isinstance(logger, logging.LoggerAdapter) else logger
    named.addFilter(escape_record)  # a second time changes nothing
    return logger
