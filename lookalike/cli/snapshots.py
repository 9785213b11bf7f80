"""`lookalike snapshots` and `lookalike doctor`: what a store holds, and whether it is well."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from lookalike.cli.output import (
    channel_option,
    open_channel,
    output_option,
    print_value,
    report_errors,
    say,
    store_option,
)
from lookalike.data.printable import escape_controls

if TYPE_CHECKING:
    from lookalike.data.snapshots.channels import Entry
    from lookalike.data.snapshots.store import Summary


@click.group()
def snapshots() -> None:
    """Look at what was published, and move a channel.

    SNAPSHOT is an id, its first letters, `current` (the one that the channel points at) or `previous`.
    """


@snapshots.command("list")
@store_option
@channel_option
@output_option
@report_errors
def list_snapshots(*, store: str, channel: str, output: str) -> None:
    """List all snapshots, oldest first; a star marks the one that the channel points at."""
    from lookalike.data.snapshots.store import list_summaries

    rows = list_summaries(open_channel(store, channel).store, channel)
    if output == "json":
        print_value([{**row.model_dump(mode="json"), **row.quality} for row in rows], output)
        return
    for row in rows:
        say(f"{'*' if row.current else ' '} {row.snapshot}  {_in_short(row)}")


@snapshots.command()
@click.argument("snapshot", default="current")
@store_option
@channel_option
@report_errors
def show(*, snapshot: str, store: str, channel: str) -> None:
    """Print a snapshot's manifest; default: the one that the channel points at."""
    from lookalike.data.snapshots.names import find_snapshot
    from lookalike.data.snapshots.store import read_manifest

    opened = open_channel(store, channel)
    manifest = read_manifest(opened.store, find_snapshot(opened, snapshot))
    print_value(manifest.model_dump(mode="json"), "json")


@snapshots.command()
@store_option
@channel_option
@output_option
@report_errors
def history(*, store: str, channel: str, output: str) -> None:
    """Print every move of the channel, oldest first: which snapshot, when, who and why."""
    entries = list(open_channel(store, channel).history())
    if output == "json":
        print_value([entry.model_dump(mode="json", exclude={"checksum", "format"}) for entry in entries], output)
        return
    for entry in entries:
        back = f" (back to entry {entry.restores})" if entry.restores else ""
        held = " (held)" if entry.held else ""
        say(
            f"{entry.number:>5}  {entry.snapshot}  {entry.moved_at:%Y-%m-%d %H:%M:%SZ}  {entry.moved_by}  "
            f"{entry.reason}{back}{held}"
        )


@snapshots.command("diff")
@click.argument("before", default="previous")
@click.argument("after", default="current")
@store_option
@channel_option
@output_option
@report_errors
def diff_snapshots(*, before: str, after: str, store: str, channel: str, output: str) -> None:
    """Say what is different in AFTER: products, files and figures.

    Default: the snapshot that the channel points at, compared with the one before it.
    """
    from lookalike.data.snapshots.diff import diff
    from lookalike.data.snapshots.names import find_snapshot
    from lookalike.data.snapshots.store import read_manifest

    opened = open_channel(store, channel)
    old, new = find_snapshot(opened, before), find_snapshot(opened, after)
    found = diff(opened.store, read_manifest(opened.store, old), read_manifest(opened.store, new))
    print_value(found.model_dump(mode="json"), "json") if output == "json" else say(found.to_text())


@snapshots.command()
@click.argument("snapshot", default="current")
@store_option
@channel_option
@report_errors
def verify(*, snapshot: str, store: str, channel: str) -> None:
    """Read every byte of a snapshot and check it; default: the one that the channel points at."""
    from lookalike.data.snapshots import store as stored
    from lookalike.data.snapshots.names import find_snapshot

    opened = open_channel(store, channel)
    manifest = stored.read_manifest(opened.store, find_snapshot(opened, snapshot))
    problems = stored.verify(opened.store, manifest)
    for problem in problems:
        say(problem, err=True)
    if problems:
        sys.exit(1)
    say(f"{manifest.id}: {len(set(manifest.blobs()))} files, every byte as promised")


@snapshots.command()
@click.argument("snapshot")
@store_option
@channel_option
@click.option("--reason", default="promoted by hand", show_default=True, help="Kept in the channel's history.")
@click.option("--pin", is_flag=True, help="Keep the snapshot until it is unpinned, too.")
@click.option("--force", is_flag=True, help="Also one that did not reach its limits and was refused.")
@click.option(
    "--hold/--no-hold",
    default=None,
    help="Whether runs leave the channel there until it is moved by hand again; default: if SNAPSHOT is an older one.",
)
@report_errors
def promote(*, snapshot: str, store: str, channel: str, reason: str, pin: bool, force: bool, hold: bool | None) -> None:
    """Point the channel at SNAPSHOT, an older one too; servers follow within seconds.

    A channel that is held is let go when a snapshot that is not older is promoted, also the current one.
    """
    from lookalike.data.snapshots import publishing
    from lookalike.data.snapshots.names import find_snapshot

    opened = open_channel(store, channel)
    found = find_snapshot(opened, snapshot)
    entry = publishing.promote(opened, found, reason=reason, pin=pin, force=force, hold=hold)
    say(f"channel {channel!r} points at {entry.snapshot} (entry {entry.number}){_describe_hold(entry)}")


@snapshots.command()
@store_option
@channel_option
@click.option("--reason", default="rolled back by hand", show_default=True, help="Kept in the channel's history.")
@click.option(
    "--hold/--no-hold",
    default=True,
    show_default=True,
    help="Whether runs leave the channel there until it is moved by hand again.",
)
@report_errors
def rollback(*, store: str, channel: str, reason: str, hold: bool) -> None:
    """Point the channel at the snapshot before the current one; again, at the one before that."""
    from lookalike.data.snapshots import publishing

    entry = publishing.rollback(open_channel(store, channel), reason=reason, hold=hold)
    say(f"channel {channel!r} points at {entry.snapshot} again (entry {entry.number}){_describe_hold(entry)}")


def _describe_hold(entry: Entry) -> str:
    if not entry.held:
        return ""
    return "; runs leave it there until `lookalike snapshots promote current` lets them publish again"


@snapshots.command("pin")
@click.argument("snapshot")
@store_option
@channel_option
@click.option("--note", default="", help="Why; kept with who and when.")
@report_errors
def pin_snapshot(*, snapshot: str, store: str, channel: str, note: str) -> None:
    """Keep SNAPSHOT from garbage collection until it is unpinned."""
    from lookalike.data.snapshots.names import find_snapshot
    from lookalike.data.snapshots.store import pin

    opened = open_channel(store, channel)
    made = pin(opened.store, find_snapshot(opened, snapshot), note)
    say(f"{made.snapshot} is pinned by {made.pinned_by} since {made.pinned_at:%Y-%m-%d %H:%M:%SZ}  {made.note}")


@snapshots.command("unpin")
@click.argument("snapshot")
@store_option
@channel_option
@report_errors
def unpin_snapshot(*, snapshot: str, store: str, channel: str) -> None:
    """Let SNAPSHOT go when its time comes."""
    from lookalike.data.snapshots.names import find_snapshot
    from lookalike.data.snapshots.store import unpin

    opened = open_channel(store, channel)
    unpin(opened.store, find_snapshot(opened, snapshot))


@snapshots.command("rejects")
@store_option
@channel_option
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1), help="How many to print.")
@output_option
@report_errors
def list_rejects(*, store: str, channel: str, limit: int, output: str) -> None:
    """Print the products that the last run of the channel left out, each with its reason."""
    from lookalike.data.catalogue.rejects import read_rejects
    from lookalike.data.fetch.addresses import hide_secrets
    from lookalike.data.reports import last_report

    opened = open_channel(store, channel)
    report = last_report(opened.store, channel)
    rejects = read_rejects(opened.store, report.rejects) if report.rejects else []
    shown = [{**asdict(one), "reference": hide_secrets(one.reference)} for one in rejects[:limit]]
    if output == "json":
        print_value(shown, output)
        return
    for one in shown:
        say("  ".join(escape_controls(one[part]) for part in ("reason", "id", "reference", "message")))
    say(f"run {report.run}: {len(shown):,} of {len(rejects):,} rejected products", err=True)


@snapshots.command("copy")
@click.argument("source")
@click.argument("target")
@report_errors
def copy_snapshots(*, source: str, target: str) -> None:
    """Copy all of the store SOURCE that the store TARGET lacks: a backup, and back again.

    Each is a folder, or s3://bucket/prefix. Runs and servers of both may go on meanwhile. Repeat it to bring the copy
    up to date, or if it was interrupted.
    """
    from lookalike.data.snapshots.backup import copy_store
    from lookalike.data.stores import open_store

    copied = copy_store(open_store(source), open_store(target))
    say(f"{target}: {copied.written:,} objects copied, {copied.present:,} were there")


@snapshots.command()
@store_option
@click.option("--keep", default=10, show_default=True, type=click.IntRange(min=1), help="Last entries of each channel.")
@click.option(
    "--grace",
    default="24h",
    show_default=True,
    help="Keep all that is younger: longer than a reindex and than a server's fetch take.",
)
@click.option("--time-limit", default="1h", show_default=True, help="Begin no removal after so long.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@output_option
@report_errors
def gc(*, store: str, keep: int, grace: str, time_limit: str, dry_run: bool, output: str) -> None:
    """Remove snapshots and files that nothing needs any more, in all channels."""
    from lookalike.data.durations import duration
    from lookalike.data.snapshots.gc import Retention, collect
    from lookalike.data.stores import open_store

    retention = Retention(entries=keep, grace=duration(grace))
    done = collect(open_store(store), retention, dry_run=dry_run, time_limit=duration(time_limit))
    keys = [found.key for found in done.objects]
    if output == "json":
        found = {"snapshots": done.snapshots, "objects": keys, "freed_bytes": done.freed, "left": len(done.left)}
        print_value({"dry_run": dry_run, **found}, output)
        return
    for key in keys:
        say(key)
    freed = "would be freed" if dry_run else "freed"
    say(f"{len(done.snapshots)} snapshots, {len(keys)} objects, {done.freed:,} bytes {freed}", err=True)
    if done.left:
        say(f"{len(done.left)} objects are left, for the time was up: run it again", err=True)


@click.command()
@store_option
@output_option
@report_errors
def doctor(*, store: str, output: str) -> None:
    """Prove that the store does what publishing needs; check its channels, clocks and versions."""
    from lookalike.data.snapshots.doctor import examine
    from lookalike.data.stores import open_store

    findings = []
    for finding in examine(open_store(store)):
        findings.append(finding)
        if output == "text":
            say(f"{'ok    ' if finding.ok else 'FAILED'}  {finding.check:<18} {finding.detail}")
            if not finding.ok:
                say(f"{'':26} so {finding.breaks}")
    if output == "json":
        print_value([finding.model_dump() for finding in findings], output)
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


def _in_short(row: Summary) -> str:
    if row.problem:
        return row.problem
    marks = [*row.channels, *(["pinned"] if row.pinned else []), *(["refused"] if row.refused else [])]
    recall = f"recall@10 {row.quality['recall_at_10']:.3f}" if "recall_at_10" in row.quality else ""
    size = f"{(row.bytes or 0) / 1e6:>9,.1f} MB"
    return f"{row.products or 0:>9,} products  {size}  {recall:<15}  {row.encoder}  {', '.join(marks)}".rstrip()
