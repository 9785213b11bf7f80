"""The command line: one verb for each thing that a person does.

Data goes to standard output, progress to standard error. Exit codes: 0 done, 1 it failed, 2 it was asked wrongly.
"""

from __future__ import annotations

import json
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

P = ParamSpec("P")

SNAPSHOT_STORE = "./.lookalike"

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
@click.option("--full", is_flag=True, help="Hash every picture and train the index anew.")
@click.option("--no-publish", is_flag=True, help="Make the snapshot, but leave the channel where it is.")
@click.option("--attribution", default="", help="Whom the pictures are owed to; shown on the search page.")
@output_option
@reported
def reindex(
    *,
    catalogue: str,
    store: str,
    channel: str,
    encoder: str,
    shards: int | None,
    full: bool,
    no_publish: bool,
    attribution: str,
    output: str,
) -> None:
    """Bring a channel up to date with CATALOGUE: a folder of images, or a .csv, .jsonl or .parquet.

    Embeds what is new, builds a snapshot and publishes it. Exits with 1 where a limit keeps it from being published.
    """
    from flows.terminal import quiet_prefect, show_stages

    quiet_prefect()
    from flows.reindex import reindex as flow
    from data.catalogue import locate
    from flows.settings import absolute

    show_stages()
    report = flow(
        catalogue=locate(catalogue),
        store=absolute(store),
        channel=channel,
        encoder=encoder,
        shards=shards,
        full=full,
        publish=not no_publish,
        attribution=attribution,
    )
    _print(report.model_dump(mode="json"), output)
    sys.exit(1 if report.refused else 0)


@cli.command()
@store_option
@channel_option
@click.option("--host", envvar="LOOKALIKE_HOST", default="127.0.0.1", show_default=True)
@click.option("--port", envvar="LOOKALIKE_PORT", default=8000, show_default=True)
@click.option("--workers", envvar="LOOKALIKE_WORKERS", default=1, show_default=True, help="Server processes.")
@reported
def serve(*, store: str, channel: str, host: str, port: int, workers: int) -> None:
    """Answer queries from a channel's snapshot, and follow it to the next one without a restart."""
    from serving.server import serve as run

    from serving.settings import ServingSettings

    run(ServingSettings(store=store, channel=channel, host=host, port=port, workers=workers))


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
    """Find the products that look like IMAGE."""
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
    from data import snapshots as stored

    opened = _channel(store, channel)
    entry = opened.latest()
    rows = []
    for name in stored.list_snapshots(opened.store):
        manifest = stored.read_manifest(opened.store, name)
        current = entry is not None and entry.snapshot == name
        rows.append({"snapshot": name, "current": current, "products": manifest.products, **manifest.quality})
    if output == "json":
        _print(rows, output)
        return
    for row in rows:
        mark = "*" if row["current"] else " "
        click.echo(f"{mark} {row['snapshot']}  {row['products']:>9,} products  recall@10 {row['recall_at_10']:.3f}")


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
@reported
def promote(*, snapshot: str, store: str, channel: str, reason: str) -> None:
    """Point the channel at SNAPSHOT, an older one too; servers follow within seconds."""
    from data import publishing

    entry = publishing.promote(_channel(store, channel), snapshot, reason=reason)
    click.echo(f"channel {channel!r} points at {entry.snapshot} (entry {entry.number})")


@cli.group()
def encoders() -> None:
    """Look at the encoders that a reindex can use."""


@encoders.command("list")
@reported
def list_encoders() -> None:
    """List the encoders that are installed."""
    from tasks.encoders.registry import available

    for name in available():
        click.echo(name)


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
