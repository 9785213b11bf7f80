"""What a person reads at the end of a run: what came of it, and what to do next. `--output json` has all figures."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lookalike.data.reports import RunReport

REASONS = 3
"""So many reasons for rejects are named."""
NOTES = 5
_MINUTE = 60


def describe_report(report: RunReport, options: str) -> Iterator[str]:
    """Yield the lines; `options` are those of the commands that come next, such as ` --store s3://bucket`."""
    yield f"{report.message[:1].upper()}{report.message[1:]} (channel {report.channel!r})"
    if report.state == "skipped":
        return
    yield f"  products  {report.products:,}{_in_brackets(_changes(report))}"
    yield f"  pictures  {report.embedded:,} embedded, {report.reused:,} reused{_rejects(report)}"
    if quality := _quality(report):
        yield f"  index     {quality}"
    for note in [*_troubles(report), *_misfits(report), *report.notes][:NOTES]:
        yield f"  note      {note}"
    yield f"  took      {format_seconds(report.seconds)}"
    yield f"  next      {_next(report, options)}"


def format_seconds(seconds: float) -> str:
    """Return a time such as `4.2 s` or `1 min 3 s`."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // _MINUTE} min {int(seconds) % _MINUTE} s"


def describe_options(given: Mapping[str, tuple[str, str]]) -> str:
    """Return the options whose value is not the default, as a shell needs them; `given` has value and default."""
    return "".join(f" --{name} {shlex.quote(value)}" for name, (value, usual) in given.items() if value != usual)


def _changes(report: RunReport) -> list[str]:
    counts = {
        "came": report.added,
        "with another picture": report.changed_pictures,
        "with another text": report.changed_text,
        "went": report.removed,
        "not looked at": report.unseen,
    }
    return [f"{count:,} {what}" for what, count in counts.items() if count]


def _rejects(report: RunReport) -> str:
    if not report.rejected:
        return ""
    most = sorted(report.reject_reasons.items(), key=lambda one: (-one[1], one[0]))
    shown = [f"{count:,} {reason}" for reason, count in most[:REASONS]]
    if len(most) > REASONS:
        shown.append(f"{len(most) - REASONS} more reasons")
    return f", {report.rejected:,} rejected{_in_brackets(shown)}"


def _quality(report: RunReport) -> str:
    figures = [
        "" if report.recall_at_10 is None else f"recall@10 {report.recall_at_10:.3f}",
        "" if report.query_ms is None else f"{report.query_ms:.2g} ms a query",
        "" if report.bytes is None else f"{report.bytes / 1e6:,.1f} MB",
    ]
    return ", ".join(filter(None, figures))


def _troubles(report: RunReport) -> Iterator[str]:
    counts = {
        "workers died or left": report.workers_lost,
        "stages were tried again": report.stages_retried,
        "parts of the work were tried again": report.partitions_retried,
    }
    if said := ", ".join(f"{count:,} {what}" for what, count in counts.items() if count):
        yield f"{said}: their work was done once more"


def _misfits(report: RunReport) -> Iterator[str]:
    for name, found in report.attributes.items():
        if found.misfits:
            yield f"{found.misfits:,} values of {name!r} are left out, such as {found.misfit!r}: no {found.type}"


def _next(report: RunReport, options: str) -> str:
    if report.state == "refused":
        return f"lookalike snapshots promote {report.snapshot} --force{options}, if it is right"
    if report.state == "unpublished":
        return f"lookalike snapshots promote {report.snapshot}{options}"
    if report.rejected:
        return f"lookalike snapshots rejects{options}; lookalike serve{options}"
    return f"lookalike search PICTURE{options}; lookalike serve{options}"


def _in_brackets(parts: list[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""
