"""Progress of a stage: an artifact in the Prefect UI, a bar on a terminal, a line in the log now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

UI_SECONDS = 2.0
LOG_SECONDS = 15.0


class StageProgress:
    """Counts what is done; shows it where someone looks."""

    def __init__(self, stage: str, total: int, bar: Progress) -> None:
        self._stage = stage
        self._total = total
        self._bar = bar
        self._row = bar.add_task(stage, total=total)
        self._artifact = cast(
            "UUID",
            create_progress_artifact(0.0, key=f"progress-{stage}", description=f"{stage}: {total:,} pictures"),
        )
        self._log = get_run_logger()
        self._started = self._shown = self._logged = time.monotonic()
        self.done = 0

    def advance(self, count: int) -> None:
        """Count `count` more as done."""
        self.done += count
        self._bar.update(self._row, completed=self.done)
        now = time.monotonic()
        if now - self._shown > UI_SECONDS or self.done == self._total:
            self._shown = now
            update_progress_artifact(self._artifact, 100 * self.done / self._total, description=self._sentence(now))
        if now - self._logged > LOG_SECONDS:
            self._logged = now
            self._log.info(self._sentence(now))

    def _sentence(self, now: float) -> str:
        rate = self.done / max(now - self._started, 1e-9)
        left = (self._total - self.done) / max(rate, 1e-9)
        return (
            f"{self._stage}: {self.done:,} of {self._total:,} pictures, {rate:.0f} pictures/s, about {left:.0f} s left"
        )


@contextmanager
def stage_progress(stage: str, total: int) -> Iterator[StageProgress]:
    """Show the progress of one stage over `total` pictures."""
    bar = Progress(
        TextColumn("  {task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    with bar:
        yield StageProgress(stage, total, bar)
