"""`lookalike search`: one query, to a server or to the store itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lookalike.cli.hits import PICTURE_SIZE, print_hits
from lookalike.cli.output import (
    channel_option,
    open_channel,
    output_option,
    print_value,
    report_errors,
    store_option,
)
from lookalike.data.errors import InputError, UnavailableError

if TYPE_CHECKING:
    from lookalike.data.snapshots.channels import Channel
    from lookalike.tasks.encoders.texts.onnx import OnnxTextEncoder
    from lookalike.tasks.search.searcher import Hit, Searcher, Vectors
    from lookalike_client import Client

API_KEY = "LOOKALIKE_API_KEY"
INSTALL = "pip install lookalike-client"
SECONDS = 60.0


@click.command()
@click.argument("image", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--text", help="Words that titles and attributes have: alone, or beside IMAGE.")
@click.option("--url", help="Of a running server; without it, the store is searched directly.")
@store_option
@channel_option
@click.option("-k", default=10, show_default=True, help="How many hits.")
@click.option(
    "--filter", "filters", multiple=True, metavar="CONDITION", help="Such as category=shoes; may be repeated."
)
@click.option("--sort", metavar="ORDER", help="Such as price:asc or added:desc; the 200 nearest are sorted.")
@click.option(
    "--snapshot",
    help="Another than the current one: an id or its first letters, `previous`; of a server, one it holds.",
)
@output_option
@report_errors
def search(
    *,
    image: Path | None,
    text: str | None,
    url: str | None,
    store: str,
    channel: str,
    k: int,
    filters: tuple[str, ...],
    sort: str | None,
    snapshot: str | None,
    output: str,
) -> None:
    """Find the products that look like IMAGE, that are called as TEXT says, or both.

    A server that takes a key gets that in LOOKALIKE_API_KEY. With the extra `terminal`, a terminal shows a table, and
    with --url the pictures of the hits.
    """
    if image is None and text is None:
        raise InputError("there is nothing to search for: name a picture, or write --text")
    asked = _Asked(image, text, k, filters, sort)
    if url is None:
        found = _search_store(open_channel(store, channel), snapshot, asked)
        print_value(found, output) if output == "json" else print_hits(found["hits"])
        return
    with _open_server(url) as client:
        found = _search_server(client, snapshot, asked)
        if output == "json":
            print_value(found, output)
        else:
            print_hits(found["hits"], partial(_read_picture, client))


@dataclass(frozen=True)
class _Asked:
    """What a person searches for, and how hits are chosen."""

    image: Path | None
    text: str | None
    k: int
    filters: tuple[str, ...]
    sort: str | None


def _search_store(opened: Channel, snapshot: str | None, asked: _Asked) -> dict[str, Any]:
    import tempfile

    from lookalike.data.errors import ImageRejectedError
    from lookalike.data.snapshots.blobs import BlobCache
    from lookalike.data.snapshots.names import CURRENT, find_snapshot
    from lookalike.data.snapshots.store import read_manifest
    from lookalike.tasks.search.searcher import Searcher

    manifest = read_manifest(opened.store, find_snapshot(opened, snapshot or CURRENT))
    with tempfile.TemporaryDirectory(prefix="lookalike-search-") as folder:
        searcher = Searcher.open(opened.store, manifest, BlobCache(Path(folder)), threads=1)
        try:
            vector = None if asked.image is None else searcher.embed(asked.image.read_bytes())
        except ImageRejectedError as error:
            raise InputError(f"{asked.image} cannot be used: {error}") from error
        hits = [
            _write_hit(hit)
            for hit in (
                _find_by_vector(searcher, vector, asked) if asked.text is None else _find(searcher, vector, asked)
            )
        ]
    return {"snapshot": manifest.id, "hits": hits}


def _write_hit(hit: Hit) -> dict[str, Any]:
    product = hit.product
    written = {"id": product.id, "score": hit.score, "title": product.title, "attributes": product.attributes}
    return written if hit.view is None else {**written, "view": hit.view}


def _find_by_vector(searcher: Searcher, vector: Vectors | None, asked: _Asked) -> list[Hit]:
    from lookalike.tasks.search.filters import parse
    from lookalike.tasks.search.order import parse_order

    assert vector is not None  # noqa: S101 - without a text there is a picture
    order = None if asked.sort is None else parse_order(asked.sort)
    return searcher.search(vector, asked.k, [parse(text) for text in asked.filters], order)


def _find(searcher: Searcher, vector: Vectors | None, asked: _Asked) -> list[Hit]:
    """Return the hits of a text, with a picture or without, as a server finds them."""
    from lookalike.serving.errors import ProblemError
    from lookalike.serving.query.options import QueryOptions
    from lookalike.serving.query.query import EncoderVector, Query, Text, TextVectors
    from lookalike.serving.query.request import check_text
    from lookalike.serving.search.directions import find_ranking, find_text_encoders
    from lookalike.serving.search.rankings import find_views
    from lookalike.serving.search.selection import Among, select
    from lookalike.tasks.search.order import check_order

    try:
        options = QueryOptions(k=asked.k, filter=list(asked.filters), sort=asked.sort)
        if options.order is not None:
            check_order(options.order, searcher.products.attributes)
        text = Text(check_text(asked.text or ""))
        query = Query((text,) if vector is None else (EncoderVector(vector), text), options)
        meant = TextVectors(*(_embed_text(encoder, text.text) for encoder in find_text_encoders(searcher, query)))
        vectors: list[Vectors | TextVectors] = [meant] if vector is None else [vector, meant]
        ranking = find_ranking(searcher, query, [None] * len(vectors), vectors)
        allowed = searcher.match(options.conditions)
        if ranking is None:
            return []
        found = select(searcher, ranking, options, Among(allowed))
        return searcher.hits(found, views=find_views(ranking, found.rows))
    except ProblemError as problem:
        raise InputError(str(problem)) from problem


def _embed_text(encoder: OnnxTextEncoder | None, text: str) -> Vectors | None:
    """Return the vector of a text, None without an encoder, and where it knows nothing of it."""
    from lookalike.tasks.encoders.texts.base import encode_texts

    vector = None if encoder is None else encode_texts(encoder, [text])[0]
    return None if vector is None or not vector.any() else vector


@contextmanager
def _open_server(url: str) -> Iterator[Client]:
    """Yield a client of a server; what it raises becomes an error of the command."""
    try:
        from lookalike_client import Client, LookalikeError, ProblemError, RetryPolicy
    except ModuleNotFoundError:
        raise InputError(f"--url needs the Python client: {INSTALL}") from None

    try:
        client = Client(url, api_key=os.environ.get(API_KEY) or None, timeout=SECONDS, retry=RetryPolicy(retries=3))
    except ValueError as error:
        raise InputError(f"--url or {API_KEY} cannot be used: {error}") from error
    try:
        with client:
            yield client
    except ProblemError as error:
        said = f"{url} answered {error.code}: {error.detail}"
        raise (UnavailableError if error.status >= 500 or error.status == 429 else InputError)(said) from error
    except LookalikeError as error:
        raise UnavailableError(str(error)) from error


def _read_picture(client: Client, product: str, view: int | None) -> bytes:
    """Return the picture of a hit, nothing where it cannot be had: the hits are what was asked for."""
    from lookalike_client import LookalikeError

    try:
        return client.image(product, size=PICTURE_SIZE, view=view)
    except LookalikeError:
        return b""


def _search_server(client: Client, snapshot: str | None, asked: _Asked) -> dict[str, Any]:
    options: dict[str, Any] = {
        "k": asked.k,
        "filter": asked.filters,
        "sort": asked.sort,
        "snapshot": snapshot,
        "text": asked.text,
    }
    found = client.search(asked.image, **options)
    names = ("id", "title", "attributes", "image_url", "score")
    hits = [
        {name: getattr(hit, name) for name in names} | ({} if hit.view is None else {"view": hit.view}) for hit in found
    ]
    return {"snapshot": found.snapshot, "took_ms": found.took_ms, "hits": hits}
