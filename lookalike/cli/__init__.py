"""The command line: one verb for each thing that a person does.

Data goes to standard output, progress to standard error. Exit codes: 0 done, 1 it failed, 2 it was asked wrongly.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click
from dotenv import load_dotenv

from data.errors import InputError, LookalikeError

if TYPE_CHECKING:
    from data.channels import Channel
    from data.overview import Summary
    from data.reports import RunReport

P = ParamSpec("P")

SNAPSHOT_STORE = "./.lookalike"
API_KEY = "LOOKALIKE_API_KEY"

store_option = click.option(
    "--store",
    envvar="LOOKALIKE_STORE",
    default=SNAPSHOT_STORE,
    show_default=True,
    help="Where snapshots live: a folder, or s3://bucket/prefix.",
)
channel_option = click.option(
    "--channel", envvar="LOOKALIKE_CHANNEL", default="current", show_default=True, help="Which channel."
)
attribution_option = click.option(
    "--attribution", help="Whom the pictures are owed to, for the search page; default: as in the last snapshot."
)
output_option = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For people or machines."
)


def main() -> None:
    """Run the command line, with what `.env` in the current folder sets."""
    load_dotenv(Path(".env"))
    cli(prog_name="lookalike")


def reported(function: Callable[P, None]) -> Callable[P, None]:
    """End with a sentence instead of a traceback where an error is one of ours."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except LookalikeError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2 if isinstance(error, InputError) else 1)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lookalike")
def cli() -> None:
    """Lookalike: find what looks like this, in your own catalogue."""


@cli.command()
@click.option("--once", is_flag=True, help="Do the same work, run one query, print its hits and exit.")
@click.option("--catalogue", metavar="URI", help="Your own pictures; default: the OpenMoji sample.")
@click.option("--port", default=8000, show_default=True, help="Of the search page.")
@reported
def demo(*, once: bool, catalogue: str | None, port: int) -> None:
    """Bring up everything on this machine: Prefect, Dask, a first reindex, its schedule and the search page."""
    from infra.demo.demo import DemoOptions, run

    sys.exit(run(DemoOptions(once=once, catalogue=catalogue, port=port)))


@cli.command()
@click.argument("catalogue")
@store_option
@channel_option
@click.option("--encoder", default="efficientnet-lite0", show_default=True, help="See `lookalike encoders list`.")
@click.option("--shards", type=click.IntRange(min=1), help="Parts of the index; default: by the catalogue's size.")
@click.option(
    "--index-bytes", type=click.IntRange(min=1), help="Memory that the index may take; default: LOOKALIKE_INDEX_BYTES."
)
@click.option("--full", is_flag=True, help="Hash every picture and train the index anew.")
@click.option("--no-publish", is_flag=True, help="Make the snapshot, but leave the channel where it is.")
@attribution_option
@output_option
@reported
def reindex(
    *,
    catalogue: str,
    store: str,
    channel: str,
    encoder: str,
    shards: int | None,
    index_bytes: int | None,
    full: bool,
    no_publish: bool,
    attribution: str | None,
    output: str,
) -> None:
    """Bring a channel up to date with CATALOGUE: a folder of images, or a .csv, .jsonl or .parquet.

    Embeds what is new, builds a snapshot and publishes it. Exits with 1 where a limit keeps it from being published.
    """
    report = _run(
        "reindex",
        catalogue,
        store=store,
        channel=channel,
        encoder=encoder,
        shards=shards,
        index_bytes=index_bytes,
        full=full,
        publish=not no_publish,
        attribution=attribution,
    )
    _end(report, output)


@cli.command()
@click.argument("catalogue")
@store_option
@channel_option
@click.option("--encoder", default="efficientnet-lite0", show_default=True, help="See `lookalike encoders list`.")
@click.option("--no-publish", is_flag=True, help="Make the snapshot, but leave the channel where it is.")
@attribution_option
@output_option
@reported
def refresh(
    *, catalogue: str, store: str, channel: str, encoder: str, no_publish: bool, attribution: str | None, output: str
) -> None:
    """Add to a channel what came, changed or went in CATALOGUE since the last reindex, in seconds.

    Trains nothing and rebuilds nothing; where too much changed, it does what `reindex` does.
    """
    report = _run(
        "refresh",
        catalogue,
        store=store,
        channel=channel,
        encoder=encoder,
        publish=not no_publish,
        attribution=attribution,
    )
    _end(report, output)


@cli.command()
@store_option
@channel_option
@click.option("--host", envvar="LOOKALIKE_HOST", default="127.0.0.1", show_default=True)
@click.option("--port", envvar="LOOKALIKE_PORT", default="8000", show_default=True, metavar="INTEGER")
@click.option("--workers", envvar="LOOKALIKE_WORKERS", default=1, show_default=True, help="Server processes.")
@reported
def serve(*, store: str, channel: str, host: str, port: str, workers: int) -> None:
    """Answer queries from a channel's snapshot, and follow it to the next one without a restart."""
    # BLAS is asked for one small product a query; its threads would then wait busily, on processors that encode
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from serving.server import serve as run
    from serving.settings import read_settings

    # the port is text: Kubernetes sets LOOKALIKE_PORT=tcp://… beside a service of our name, and the settings know that
    run(read_settings(store=store, channel=channel, host=host, port=port, workers=workers))


@cli.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", help="Of a running server; without it, the store is searched directly.")
@store_option
@channel_option
@click.option("-k", default=10, show_default=True, help="How many hits.")
@click.option(
    "--filter", "filters", multiple=True, metavar="CONDITION", help="Such as category=shoes; may be repeated."
)
@output_option
@reported
def search(
    *, image: Path, url: str | None, store: str, channel: str, k: int, filters: tuple[str, ...], output: str
) -> None:
    """Find the products that look like IMAGE. A server that takes a key gets that in LOOKALIKE_API_KEY."""
    found = _search_server(url, image, k, filters) if url else _search_store(store, channel, image, k, filters)
    if output == "json":
        _print(found, output)
        return
    for hit in found["hits"]:
        click.echo(f"{hit['score']:.3f}  {hit['id']}  {hit['title']}")


@cli.group()
def snapshots() -> None:
    """Look at what was published, and move a channel."""


@snapshots.command("list")
@store_option
@channel_option
@output_option
@reported
def list_snapshots(*, store: str, channel: str, output: str) -> None:
    """List all snapshots, oldest first; a star marks the one that the channel points at."""
    from data.overview import overview

    rows = overview(_channel(store, channel).store, channel)
    if output == "json":
        _print([{**row.model_dump(mode="json"), **row.quality} for row in rows], output)
        return
    for row in rows:
        click.echo(f"{'*' if row.current else ' '} {row.snapshot}  {_in_short(row)}")


@snapshots.command()
@click.argument("snapshot", required=False)
@store_option
@channel_option
@reported
def show(*, snapshot: str | None, store: str, channel: str) -> None:
    """Print a snapshot's manifest; default: the one that the channel points at."""
    from data.snapshots import read_manifest

    opened = _channel(store, channel)
    manifest = read_manifest(opened.store, snapshot or opened.current().snapshot)
    _print(manifest.model_dump(mode="json"), "json")


@snapshots.command()
@store_option
@channel_option
@output_option
@reported
def history(*, store: str, channel: str, output: str) -> None:
    """Print every move of the channel, oldest first: which snapshot, when, who and why."""
    entries = list(_channel(store, channel).history())
    if output == "json":
        _print([entry.model_dump(mode="json", exclude={"checksum", "format"}) for entry in entries], output)
        return
    for entry in entries:
        back = f" (back to entry {entry.restores})" if entry.restores else ""
        click.echo(
            f"{entry.number:>5}  {entry.snapshot}  {entry.moved_at:%Y-%m-%d %H:%M:%SZ}  {entry.moved_by}  "
            f"{entry.reason}{back}"
        )


@snapshots.command("diff")
@click.argument("before", required=False)
@click.argument("after", required=False)
@store_option
@channel_option
@output_option
@reported
def diff_snapshots(*, before: str | None, after: str | None, store: str, channel: str, output: str) -> None:
    """Say what is different in AFTER: products, files and figures.

    Default: the snapshot that the channel points at, compared with the one before it.
    """
    from data.diff import diff
    from data.snapshots import read_manifest

    opened = _channel(store, channel)
    old, new = (before, after) if before and after else _last_two(opened, before)
    found = diff(opened.store, read_manifest(opened.store, old), read_manifest(opened.store, new))
    _print(found.model_dump(mode="json"), "json") if output == "json" else click.echo(found.to_text())


@snapshots.command()
@click.argument("snapshot", required=False)
@store_option
@channel_option
@reported
def verify(*, snapshot: str | None, store: str, channel: str) -> None:
    """Read every byte of a snapshot and check it; default: the one that the channel points at."""
    from data import snapshots as stored

    opened = _channel(store, channel)
    manifest = stored.read_manifest(opened.store, snapshot or opened.current().snapshot)
    problems = stored.verify(opened.store, manifest)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)
    click.echo(f"{manifest.id}: {len(set(manifest.blobs()))} files, every byte as promised")


@snapshots.command()
@click.argument("snapshot")
@store_option
@channel_option
@click.option("--reason", default="promoted by hand", show_default=True, help="Kept in the channel's history.")
@click.option("--pin", is_flag=True, help="Keep the snapshot until it is unpinned, too.")
@click.option("--force", is_flag=True, help="Also one that did not reach its limits and was refused.")
@reported
def promote(*, snapshot: str, store: str, channel: str, reason: str, pin: bool, force: bool) -> None:
    """Point the channel at SNAPSHOT, an older one too; servers follow within seconds."""
    from data import publishing

    entry = publishing.promote(_channel(store, channel), snapshot, reason=reason, pin=pin, force=force)
    click.echo(f"channel {channel!r} points at {entry.snapshot} (entry {entry.number})")


@snapshots.command()
@store_option
@channel_option
@click.option("--reason", default="rolled back by hand", show_default=True, help="Kept in the channel's history.")
@reported
def rollback(*, store: str, channel: str, reason: str) -> None:
    """Point the channel at the snapshot before the current one; again, at the one before that."""
    from data import publishing

    entry = publishing.rollback(_channel(store, channel), reason=reason)
    click.echo(f"channel {channel!r} points at {entry.snapshot} again (entry {entry.number})")


@snapshots.command("pin")
@click.argument("snapshot")
@store_option
@click.option("--note", default="", help="Why; kept with who and when.")
@reported
def pin_snapshot(*, snapshot: str, store: str, note: str) -> None:
    """Keep SNAPSHOT, whatever gc would do, until it is unpinned."""
    from data import pins
    from data.stores import open_store

    pin = pins.pin(open_store(store), snapshot, note)
    click.echo(f"{pin.snapshot} is pinned by {pin.pinned_by} since {pin.pinned_at:%Y-%m-%d %H:%M:%SZ}  {pin.note}")


@snapshots.command("unpin")
@click.argument("snapshot")
@store_option
@reported
def unpin_snapshot(*, snapshot: str, store: str) -> None:
    """Let SNAPSHOT go when its time comes."""
    from data import pins
    from data.stores import open_store

    pins.unpin(open_store(store), snapshot)


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
@reported
def gc(*, store: str, keep: int, grace: str, time_limit: str, dry_run: bool, output: str) -> None:
    """Remove snapshots and files that nothing needs any more, in all channels."""
    from data.collection import Retention, collect
    from data.durations import duration
    from data.stores import open_store

    retention = Retention(entries=keep, grace=duration(grace))
    done = collect(open_store(store), retention, dry_run=dry_run, time_limit=duration(time_limit))
    keys = [found.key for found in done.objects]
    if output == "json":
        found = {"snapshots": done.snapshots, "objects": keys, "freed_bytes": done.freed, "left": len(done.left)}
        _print({"dry_run": dry_run, **found}, output)
        return
    for key in keys:
        click.echo(key)
    freed = "would be freed" if dry_run else "freed"
    click.echo(f"{len(done.snapshots)} snapshots, {len(keys)} objects, {done.freed:,} bytes {freed}", err=True)
    if done.left:
        click.echo(f"{len(done.left)} objects are left, for the time was up: run it again", err=True)


@cli.command()
@store_option
@output_option
@reported
def doctor(*, store: str, output: str) -> None:
    """Prove that the store does what publishing needs; check its channels, clocks and versions."""
    from data.doctor import examine
    from data.stores import open_store

    findings = []
    for finding in examine(open_store(store)):
        findings.append(finding)
        if output == "text":
            click.echo(f"{'ok    ' if finding.ok else 'FAILED'}  {finding.check:<18} {finding.detail}")
            if not finding.ok:
                click.echo(f"{'':26} so {finding.breaks}")
    if output == "json":
        _print([finding.model_dump() for finding in findings], output)
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


@cli.group()
def encoders() -> None:
    """Look at the encoders that a reindex can use."""


@encoders.command("list")
@click.argument("family", required=False)
@output_option
@reported
def list_encoders(*, family: str | None, output: str) -> None:
    """List the encoders that are installed, or all models of FAMILY: torchvision, timm or openclip."""
    from tasks.encoders.registry import available, models

    names = models(family) if family else available()
    if output == "json":
        _print(names, output)
        return
    for name in names:
        click.echo(name)


@encoders.command("show")
@click.argument("name")
@store_option
@click.option("--output", type=click.Choice(["text", "json"]), default="json", show_default=True)
@reported
def show_encoder(*, name: str, store: str, output: str) -> None:
    """Print where encoder NAME comes from, its fingerprint and, where the store has it, how it looks at pictures."""
    from data.stores import open_store
    from tasks.encoders.registry import origin, source
    from tasks.encoders.stored import find_spec

    encoder, code = source(name), origin(name)
    spec = find_spec(open_store(store), encoder.fingerprint())
    found = spec.model_dump(mode="json") if spec else None
    shown = {"name": encoder.name, "class": code.value, "package": code.package, "fingerprint": encoder.fingerprint()}
    if output == "json":
        _print({**shown, "stored": found}, output)
        return
    _print({**shown, "stored": "yes" if found else "no"} | {**(found or {}), **shown}, output)


keys_file_option = click.option(
    "--keys-file",
    envvar="LOOKALIKE_ACCESS__KEYS_FILE",
    show_envvar=True,
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where keys are kept, hashed; servers read it again when it changes.",
)


@cli.group()
def keys() -> None:
    """Look after the API keys that servers accept."""


@keys.command("create")
@keys_file_option
@click.option("--name", required=True, help="Whose it is, such as 'web shop'; logs show it.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=["search"],
    show_default=True,
    type=click.Choice(["search", "admin"]),
    help="What it is good for; may be repeated.",
)
@click.option("--expires", metavar="DURATION", help="Such as 90d; default: never.")
@output_option
@reported
def create_api_key(*, keys_file: Path, name: str, scopes: tuple[str, ...], expires: str | None, output: str) -> None:
    """Make a key and print it, this once: only a hash of it is kept."""
    from data.durations import duration
    from serving.access.callers import AccessScope
    from serving.access.keys import create_key
    from serving.access.keys_file import add_key

    chosen = [AccessScope(scope) for scope in scopes]
    key, text = create_key(name, chosen, lifetime=duration(expires) if expires else None)
    add_key(keys_file.expanduser(), key)
    if output == "json":
        _print({"key": text, **key.model_dump(mode="json", exclude={"sha256"})}, output)
        return
    click.echo(text)
    click.echo(f"key {key.id} for {key.name!r}: it cannot be shown again", err=True)


@keys.command("list")
@keys_file_option
@output_option
@reported
def list_api_keys(*, keys_file: Path, output: str) -> None:
    """List the keys, without what is secret."""
    from datetime import UTC, datetime

    from serving.access.keys_file import read_keys

    found, now = read_keys(keys_file.expanduser()), datetime.now(UTC)
    if output == "json":
        rows = [{**key.model_dump(mode="json", exclude={"sha256"}), "expired": key.expired(now)} for key in found]
        _print(rows, output)
        return
    for key in found:
        expiry = f"{'expired' if key.expired(now) else 'until'} {key.expires_at:%Y-%m-%d}" if key.expires_at else ""
        click.echo(f"{key.id}  {','.join(key.scopes):<12}  {key.created_at:%Y-%m-%d}  {expiry:<18}  {key.name}")


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@keys_file_option
@reported
def revoke_api_key(*, key_id: str, keys_file: Path) -> None:
    """Take the key ID back: servers refuse it within seconds."""
    from serving.access.keys_file import remove_key

    key = remove_key(keys_file.expanduser(), key_id)
    click.echo(f"key {key.id} for {key.name!r} is revoked", err=True)


def _run(flow: str, catalogue: str, *, store: str, **parameters: Any) -> RunReport:
    """Run a flow here and now, its stages on the terminal."""
    from flows.terminal import quiet_prefect, show_stages

    quiet_prefect()
    from importlib import import_module

    from data.catalogue import locate
    from flows.settings import absolute

    run = getattr(import_module(f"flows.{flow}"), flow)
    show_stages()
    report: RunReport = run(catalogue=locate(catalogue), store=absolute(store), **parameters)
    return report


def _end(report: RunReport, output: str) -> None:
    _print(report.model_dump(mode="json"), output)
    sys.exit(1 if report.refused else 0)


def _in_short(row: Summary) -> str:
    if row.problem:
        return row.problem
    marks = [*row.channels, *(["pinned"] if row.pinned else [])]
    recall = f"recall@10 {row.quality['recall_at_10']:.3f}" if "recall_at_10" in row.quality else ""
    return f"{row.products or 0:>9,} products  {recall}  {', '.join(marks)}".rstrip()


def _last_two(channel: Channel, before: str | None) -> tuple[str, str]:
    newest = channel.current()
    if before:
        return before, newest.snapshot
    earlier = channel.before(newest)
    if earlier is None:
        raise InputError(f"channel {channel.name!r} has had one snapshot only: name the two to compare")
    return earlier.snapshot, newest.snapshot


def _search_store(store: str, channel: str, image: Path, k: int, filters: tuple[str, ...]) -> dict[str, Any]:
    import tempfile

    from data.cache import BlobCache
    from data.errors import ImageRejectedError
    from data.snapshots import read_manifest
    from tasks.indexing.filters import parse
    from tasks.searcher import Searcher

    conditions = [parse(text) for text in filters]
    opened = _channel(store, channel)
    manifest = read_manifest(opened.store, opened.current().snapshot)
    with tempfile.TemporaryDirectory(prefix="lookalike-search-") as folder:
        searcher = Searcher.open(opened.store, manifest, BlobCache(Path(folder)), threads=1)
        try:
            vector = searcher.embed(image.read_bytes())
        except ImageRejectedError as error:
            raise InputError(f"{image} cannot be used: {error}") from error
        hits = [
            {"id": hit.product.id, "score": hit.score, "title": hit.product.title, "attributes": hit.product.attributes}
            for hit in searcher.search(vector, k, conditions)
        ]
    return {"snapshot": manifest.id, "hits": hits}


def _search_server(url: str, image: Path, k: int, filters: tuple[str, ...]) -> dict[str, Any]:
    import base64
    import urllib.error
    import urllib.request

    body = {"image": base64.b64encode(image.read_bytes()).decode(), "k": k, "filter": list(filters)}
    request = urllib.request.Request(  # noqa: S310 - the person names the server
        f"{url.rstrip('/')}/v1/search", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    if os.environ.get(API_KEY):
        request.add_unredirected_header("Authorization", f"Bearer {os.environ[API_KEY]}")  # it is for this server only
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
            found: dict[str, Any] = json.load(reply)
            return found
    except urllib.error.HTTPError as error:
        raise InputError(f"{url} answered {error.code}: {_detail(error.read())}") from error
    except OSError as error:
        raise LookalikeError(f"{url} does not answer: {error}") from error


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def _channel(store: str, channel: str) -> Channel:
    from data.channels import Channel
    from data.stores import open_store

    return Channel(open_store(store), channel)


def _print(value: Any, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))
        return
    for name, item in value.items():
        click.echo(f"{name:<13} {item}")


if __name__ == "__main__":
    main()
