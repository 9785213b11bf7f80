"""Artifacts: what the Prefect UI shows of a finished run. They are for people: one that cannot be made fails nothing.

Measured with Prefect 3.8.8: a Markdown artifact shows a picture that is a `data:` URI; an image artifact does too,
and prints the whole URI below it. Cells of a table are Markdown, and HTML in them is removed; the V2 UI shows them
as they are, ten rows a page.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import ParamSpec

import httpx
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.exceptions import PrefectHTTPStatusError

from lookalike.data.catalogue.rejects import Reject
from lookalike.data.fetch.addresses import hide_secrets
from lookalike.data.reports import RunReport
from lookalike.data.snapshots.channels import DEFAULT_CHANNEL
from lookalike.data.snapshots.manifest import DuplicatesSection
from lookalike.data.stores import ObjectStore
from lookalike.flows.runtime.progress import run_log
from lookalike.tasks.resolve import Changes
from lookalike.tasks.scan.join import ADDED, PICTURE, TEXT

SHOWN_REJECTS = 100
SHOWN_IDS = 5
SHOWN_PICTURE_BYTES = 750_000  # base64 makes a third more of it, and the UI loads it with the list of artifacts
EARLIER_RUNS = 5
LONGEST_CELL = 200
NOTHING = "—"

# as few as possible: Prefect's newer UI shows cells as they are, backslashes and all
_MARKDOWN = re.compile(r"([\\`*<\[]|(?<![^\W_])_|_(?![^\W_]))")
_NOT_A_KEY = re.compile(r"[^a-z0-9]+")

P = ParamSpec("P")


def for_show(function: Callable[P, None]) -> Callable[P, None]:
    """Log it where an artifact cannot be made, and go on: the run has done its work."""

    @wraps(function)
    def show(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except (httpx.HTTPError, PrefectHTTPStatusError, OSError, ValueError) as error:
            run_log(__name__).warning("artifacts: %s could not be shown: %s", function.__name__, error)

    return show


def show_run(
    report: RunReport,
    earlier: Sequence[RunReport],
    changes: Changes,
    rejects: Sequence[Reject],
    *,
    store: ObjectStore,
    search_url: str | None,
) -> None:
    """Show all of a finished run.

    Args:
        earlier: the reports of the runs before it, newest first.
        rejects: some of the products that could not be used.
        search_url: where the search page answers, if it is known.
    """
    figures_table(report, earlier)
    samples = {"added": ADDED, "changed_pictures": PICTURE, "changed_text": TEXT}
    catalogue_diff(
        report,
        {**{name: changes.samples[kind] for name, kind in samples.items()}, "removed": changes.removed_sample},
    )
    attributes_table(report)
    rejects_table(report.channel, rejects, total=report.rejected, reasons=report.reject_reasons, stored=report.rejects)
    if report.contact_sheet:
        png = store.read(report.contact_sheet)
        contact_sheet_artifact(report.channel, png, stored=report.contact_sheet, store=store.uri)
    snapshot_link(report, store.uri, search_url)


@for_show
def rejects_table(
    channel: str, rejects: Sequence[Reject], *, total: int, reasons: Mapping[str, int], stored: str | None
) -> None:
    """Show what was left out and why.

    Args:
        rejects: some of them; at most `SHOWN_REJECTS` are shown.
        total: how many there are, and `reasons` how many of each.
        stored: the object that lists them all.
    """
    rows = [
        {
            "product": cell(row.id),
            "reason": row.reason,
            "message": cell(row.message),
            "stage": row.stage,
            "picture": cell(hide_secrets(row.reference)),
        }
        for row in rejects[:SHOWN_REJECTS]
    ]
    create_table_artifact(
        rows, key=artifact_key("rejects", channel), description=_rejects_sentence(len(rows), total, reasons, stored)
    )


@for_show
def attributes_table(report: RunReport) -> None:
    """Show which type each attribute has, from which values, and what was noticed while the catalogue was read."""
    rows = [
        {
            "attribute": cell(name),
            "type": found.type,
            "read as": cell(found.how) or NOTHING,
            "for example": NOTHING if found.example is None else cell(found.example),
            "do not fit": f"{found.misfits:,}" if found.misfits else NOTHING,
            "such as": NOTHING if found.misfit is None else cell(found.misfit),
        }
        for name, found in report.attributes.items()
    ]
    notes = "".join(f"\n- {plain(note)}" for note in report.notes)
    create_table_artifact(
        rows,
        key=artifact_key("attributes", report.channel),
        description=f"What {plain(report.catalogue)} can be filtered by{notes}",
    )


@for_show
def catalogue_diff(report: RunReport, samples: Mapping[str, Sequence[str]]) -> None:
    """Show what changed in the catalogue.

    Args:
        samples: ids of some of the products, by `added`, `changed_pictures`, `changed_text` and `removed`.
    """
    changes = {
        "added": ("new products", report.added),
        "changed_pictures": ("products with another picture", report.changed_pictures),
        "changed_text": ("products with another title or attribute only", report.changed_text),
        "removed": ("products that are gone", report.removed),
    }
    rows = [
        {"change": text, "products": f"{count:,}", "for example": _for_example(samples.get(name, ()), count)}
        for name, (text, count) in changes.items()
    ]
    create_table_artifact(
        rows,
        key=artifact_key("catalogue", report.channel),
        description=f"What changed in {plain(report.catalogue)}; it has {report.products:,} products now",
    )


@for_show
def contact_sheet_artifact(channel: str, png: bytes, *, stored: str, store: str) -> None:
    """Show a contact sheet, and say where it lies: as object `stored` of the store at the URI `store`."""
    where = f"It is kept as `{store.rstrip('/')}/{stored}`."
    picture = f"![sample queries and their hits](data:image/png;base64,{base64.b64encode(png).decode()})"
    if len(png) > SHOWN_PICTURE_BYTES:
        picture = f"The contact sheet has {size(len(png))}, too much to be shown here."
    create_markdown_artifact(
        f"{picture}\n\n{where}",
        key=artifact_key("contact-sheet", channel),
        description="Sample queries and their first hits, in the snapshot before and in this one",
    )


@for_show
def snapshot_link(report: RunReport, store: str, search_url: str | None = None) -> None:
    """Show where the run's snapshot lies, how to look at it, and where it is served if `search_url` is known."""
    if report.snapshot is None:
        return
    base, name = (search_url or "").rstrip("/"), report.snapshot
    links = [f"[Search page]({base}/) · [what is served now]({base}/v1/snapshots/current)", ""] if base else []
    at = "" if report.channel == DEFAULT_CHANNEL else f" --channel {report.channel}"
    lines = [
        f"## {name}",
        "",
        *links,
        f"Its manifest is `{store.rstrip('/')}/snapshots/{name}/manifest.json`.",
        "",
        "```",
        f"lookalike snapshots show {name} --store {store}",
        f"lookalike snapshots verify {name} --store {store}",
        f"lookalike snapshots diff --store {store}{at}",
        *([_promotion(report, store)] if report.state in {"refused", "unpublished"} else []),
        "```",
    ]
    create_markdown_artifact(
        "\n".join(lines), key=artifact_key("snapshot", report.channel), description=f"Snapshot {name}: {report.state}"
    )


@for_show
def duplicates_table(channel: str, found: DuplicatesSection | None, examples: Sequence[Sequence[str]]) -> None:
    """Show the largest groups of near-duplicates, with ids of some products of each."""
    rows = [{"group": number, "for example": ", ".join(map(cell, ids))} for number, ids in enumerate(examples, 1)]
    counted = "No pictures are near-duplicates of one another."
    if found:
        counted = (
            f"**{found.count:,} groups of near-duplicates**: {found.pictures:,} pictures of {found.products:,} "
            f"products, the largest of {found.largest:,} pictures, from a score of {found.threshold} on. "
            f"All are in `{found.groups.key}`."
        )
    create_table_artifact(rows, key=artifact_key("duplicates", channel), description=counted)


def _rejects_sentence(shown: int, total: int, reasons: Mapping[str, int], stored: str | None) -> str:
    if not total:
        return "Every product could be used."
    counted = ", ".join(f"{count:,} {reason}" for reason, count in _commonest(reasons.items()))
    some = f" {shown:,} of them are shown." if shown < total else ""
    everything = f" All are in `{stored}`." if stored else ""
    return f"**{total:,} products were left out**{f': {counted}' if counted else ''}.{some}{everything}"


def _commonest(reasons: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(reasons, key=lambda pair: -pair[1])


def _for_example(ids: Sequence[str], count: int) -> str:
    shown = ", ".join(cell(product) for product in ids[:SHOWN_IDS])
    return f"{shown}, …" if shown and count > min(len(ids), SHOWN_IDS) else shown or NOTHING


def _promotion(report: RunReport, store: str) -> str:
    force = " --force" if report.state == "refused" else ""
    return f"lookalike snapshots promote {report.snapshot} --store {store} --channel {report.channel}{force}"


@for_show
def figures_table(report: RunReport, earlier: Sequence[RunReport]) -> None:
    """Show this run's figures beside those of earlier ones, given newest first: a row for each figure."""
    columns = {"this run": _figures(report)} | dict(_title_runs(earlier[:EARLIER_RUNS]))
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


def _title_runs(runs: Sequence[RunReport]) -> Iterator[tuple[str, dict[str, str]]]:
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
        "workers lost": f"{run.workers_lost:,}",
        "tried again": f"{run.stages_retried:,} stages, {run.partitions_retried:,} partitions",
        "task runs": NOTHING if run.task_runs is None else f"{run.task_runs:,}",
        "flow's peak memory": NOTHING if run.flow_peak_bytes is None else size(run.flow_peak_bytes),
        "a worker's peak memory": NOTHING if run.worker_peak_bytes is None else size(run.worker_peak_bytes),
    }


def artifact_key(name: str, channel: str) -> str:
    """Return the key of a channel's artifact, of letters, digits and dashes as Prefect wants it."""
    return f"{name}-{_NOT_A_KEY.sub('-', channel).strip('-')}"


def plain(text: str) -> str:
    """Return text that shows as it is where Markdown is understood."""
    return _MARKDOWN.sub(r"\\\1", text.replace("\n", " "))


def cell(text: str) -> str:
    """Return text that shows as it is in a cell of a table, cut where it is too long to read."""
    return plain(text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…")


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def size(count: int) -> str:
    """Return bytes as people say them."""
    number = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"
