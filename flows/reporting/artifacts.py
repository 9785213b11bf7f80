"""Artifacts: what the Prefect UI shows of a finished run. They are for people: one that cannot be made fails nothing.

Measured with Prefect 3.8.8: a Markdown artifact shows a picture that is a `data:` URI; an image artifact does too,
and prints the whole URI below it. Cells of a table are Markdown, and HTML in them is removed; the V2 UI shows them
as they are, ten rows a page.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from lookalike.data.catalogue.rejects import Reject
from lookalike.data.reports import RunReport
from lookalike.data.snapshots.manifest import DuplicatesSection
from lookalike.data.stores import ObjectStore
from lookalike.flows.reporting.figures import figures_table
from lookalike.flows.reporting.show import NOTHING, artifact_key, cell, for_show, plain, size
from lookalike.tasks.resolve import Changes
from lookalike.tasks.scan.join import ADDED, PICTURE, TEXT

SHOWN_REJECTS = 100
SHOWN_IDS = 5
SHOWN_PICTURE_BYTES = 750_000  # base64 makes a third more of it, and the UI loads it with the list of artifacts


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
            "picture": cell(row.reference),
        }
        for row in rejects[:SHOWN_REJECTS]
    ]
    create_table_artifact(
        rows, key=artifact_key("rejects", channel), description=_rejects_sentence(len(rows), total, reasons, stored)
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
    at = "" if report.channel == "current" else f" --channel {report.channel}"
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
