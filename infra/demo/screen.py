"""The demo's output: a line for each step, then the addresses. A terminal also gets spinners and a bar."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from lookalike.data.printable import escape_controls
from lookalike.infra.demo.query import Hit

NAME_WIDTH = 20


def _clean(text: str) -> str:
    """Return text of a catalogue, or of a program's log, that is neither markup nor an order to the terminal."""
    return escape(escape_controls(text, keep="\n"))


class Screen:
    """The terminal, or a file that the output goes to."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()

    def title(self, text: str) -> None:
        self._console.print(f"\n[bold]{_clean(text)}[/bold]\n")

    @contextmanager
    def step(self, name: str, *, quiet: bool = False) -> Iterator[StepLine]:
        """Show that a step is running, and at its end one line with its result and time.

        Args:
            name: what is done.
            quiet: show no spinner, because another program writes to the terminal meanwhile.
        """
        line = StepLine()
        began = time.monotonic()
        if quiet:
            self._console.print(f"  [cyan]…[/cyan] {_clean(name)}")
            yield line
        else:
            with self._console.status(f"{_clean(name)} …"):
                yield line
        took = f"[dim]{_format_seconds(time.monotonic() - began)}[/dim]"
        self._console.print(f"  [green]✓[/green] {_clean(name):<{NAME_WIDTH}} {_clean(line.result)}  {took}")

    @contextmanager
    def progress(self, name: str) -> Iterator[ProgressLine]:
        """Show a bar on a terminal, and at its end one line with the result and time."""
        columns = TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn()
        bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        began = time.monotonic()
        line = ProgressLine(bar, name)
        with bar:
            yield line
        took = f"[dim]{_format_seconds(time.monotonic() - began)}[/dim]"
        self._console.print(f"  [green]✓[/green] {_clean(name):<{NAME_WIDTH}} {_clean(line.result)}  {took}")

    def hits(self, question: str, hits: Sequence[Hit], wanted: str) -> None:
        """Show one query and its answer."""
        self._console.print(f"\n[bold]One query[/bold]: {_clean(question)}\n")
        table = Table(box=None, padding=(0, 2), show_header=False)
        for widest in (3, 5, 28, 20, None):  # together they fit the 80 columns of a log
            table.add_column(no_wrap=True, max_width=widest)
        for rank, hit in enumerate(hits, start=1):
            mark = "[green]← itself[/green]" if hit.id == wanted else ""
            table.add_row(str(rank), f"{hit.score:.3f}", _clean(hit.title), f"[dim]{_clean(hit.id)}[/dim]", mark)
        self._console.print(table)

    def summary(self, heading: str, facts: Mapping[str, str]) -> None:
        """Show where everything is."""
        took = _format_seconds(time.monotonic() - self._began)
        self._console.print(f"\n[bold green]{_clean(heading)}[/bold green] [dim]It took {took}.[/dim]\n")
        for name, fact in facts.items():
            self._console.print(f"  {_clean(name):<{NAME_WIDTH}} {_clean(fact)}")
        self._console.print()

    def say(self, text: str) -> None:
        """Show one sentence."""
        self._console.print(_clean(text))

    def fail(self, what: str, advice: str) -> None:
        """Show what went wrong and what to do."""
        self._console.print(f"\n[bold red]{_clean(what)}[/bold red]\n\n{_clean(advice)}\n")


class StepLine:
    """The result that a step's line will show."""

    result = ""


class ProgressLine(StepLine):
    """A step that can be counted."""

    def __init__(self, bar: Progress, name: str) -> None:
        self._bar = bar
        self._task = bar.add_task(name, total=None)
        self.total = 0

    def __call__(self, done: int, total: int) -> None:
        """Show how many are done."""
        self.total = total
        self._bar.update(self._task, completed=done, total=total)


def format_moment(when: datetime) -> str:
    """Return a time in this machine's zone, for people."""
    return when.astimezone().strftime("%A %d %B, %H:%M %Z")


def _format_seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
