"""`lookalike search`: one query, to a server or to the store itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

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
from lookalike.data.errors import InputError, LookalikeError
from lookalike.data.printable import escape_controls

API_KEY = "LOOKALIKE_API_KEY"


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", help="Of a running server; without it, the store is searched directly.")
@store_option
@channel_option
@click.option("-k", default=10, show_default=True, help="How many hits.")
@click.option(
    "--filter", "filters", multiple=True, metavar="CONDITION", help="Such as category=shoes; may be repeated."
)
@output_option
@report_errors
def search(
    *, image: Path, url: str | None, store: str, channel: str, k: int, filters: tuple[str, ...], output: str
) -> None:
    """Find the products that look like IMAGE. A server that takes a key gets that in LOOKALIKE_API_KEY."""
    found = _search_server(url, image, k, filters) if url else _search_store(store, channel, image, k, filters)
    if output == "json":
        print_value(found, output)
        return
    for hit in found["hits"]:
        say(escape_controls(f"{hit['score']:.3f}  {hit['id']}  {hit['title']}"))


def _search_store(store: str, channel: str, image: Path, k: int, filters: tuple[str, ...]) -> dict[str, Any]:
    import tempfile

    from lookalike.data.errors import ImageRejectedError
    from lookalike.data.snapshots.blobs import BlobCache
    from lookalike.data.snapshots.store import read_manifest
    from lookalike.tasks.search.filters import parse
    from lookalike.tasks.search.searcher import Searcher

    conditions = [parse(text) for text in filters]
    opened = open_channel(store, channel)
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
