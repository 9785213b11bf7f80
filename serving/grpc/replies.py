"""What clients are sent: answers as messages. Attributes keep their types."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

from lookalike.data.snapshots.products import Product
from lookalike.serving.context import RequestContext
from lookalike.serving.errors import ProblemError
from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.problems import write_problem
from lookalike.serving.live.loaded import LoadedSnapshot
from lookalike.serving.query.options import HitFields
from lookalike.serving.query.query import Query, Vectors, round_score
from lookalike.serving.query.request import Batch
from lookalike.serving.replies import (
    elapsed_ms,
    image_path,
    write_encoder,
    write_held,
    write_snapshot,
    write_understood,
    write_why,
)
from lookalike.serving.search.answers import Answer, Answers, Embeddings, Listing
from lookalike.serving.search.facets import Facet
from lookalike.tasks.search.searcher import Hit
from lookalike.tasks.search.words.words import Completion

_NULL = pb.NullValue()
_INTS = range(-(2**63), 2**63)
_UINTS = range(2**64)


def write_search(query: Query, answer: Answer, asked: RequestContext, root: str) -> pb.SearchResponse:
    """Return the answer to one query."""
    written = pb.SearchResponse(
        snapshot=answer.snapshot,
        took_ms=elapsed_ms(asked),
        total=answer.total,
        facets=_write_facets(answer.facets),
    )
    _add_hits(written.hits, answer, query.options.hit_fields, root)
    _explain(written, answer)
    return written


def write_batch(batch: Batch, found: Answers, asked: RequestContext, root: str) -> pb.SearchBatchResponse:
    """Return the answers to several queries."""
    results = [
        _write_result(query, answer, asked, root) for query, answer in zip(batch.queries, found.answers, strict=True)
    ]
    return pb.SearchBatchResponse(snapshot=found.snapshot, took_ms=elapsed_ms(asked), results=results)


def _write_result(
    query: Query | ProblemError, answer: Answer | ProblemError, asked: RequestContext, root: str
) -> pb.SearchResult:
    for failed in (query, answer):
        if isinstance(failed, ProblemError):
            return pb.SearchResult(problem=write_problem(failed, asked.id))
    assert isinstance(query, Query)  # noqa: S101 - for the type checker
    assert isinstance(answer, Answer)  # noqa: S101
    written = pb.SearchResult(total=answer.total, facets=_write_facets(answer.facets))
    _add_hits(written.hits, answer, query.options.hit_fields, root)
    _explain(written, answer)
    return written


def _explain(written: pb.SearchResponse | pb.SearchResult, answer: Answer) -> None:
    """Add what was understood, and what each hit was found by, where the query asks for it."""
    if answer.explained is None:
        return
    for hit, explanation in zip(written.hits, answer.explained.hits, strict=True):
        why = write_why(explanation)
        hit.why.CopyFrom(pb.Why(**{**why, "words": [pb.Match(**word) for word in why["words"]]}))
    if answer.explained.understood is None:
        return
    understood = write_understood(answer.explained.understood)
    words = [pb.Match(**word) for word in understood["words"]]
    likes = [pb.Like(**like) for like in understood.get("looks_like", ())]
    colours = understood.get("colours", ())
    written.understood.CopyFrom(
        pb.Understood(words=words, unknown=understood["unknown"], looks_like=likes, colours=colours)
    )


def write_embeddings(found: Embeddings, asked: RequestContext) -> pb.EmbedResponse:
    """Return vectors of pictures."""
    return pb.EmbedResponse(
        snapshot=found.snapshot,
        took_ms=elapsed_ms(asked),
        encoder=pb.Encoder(**write_encoder(found.encoder)),
        dimension=found.dimension,
        projected=found.is_projected,
        results=[_write_embedding(vector, asked) for vector in found.vectors],
    )


def _write_embedding(vector: Vectors | ProblemError, asked: RequestContext) -> pb.EmbedResult:
    if isinstance(vector, ProblemError):
        return pb.EmbedResult(problem=write_problem(vector, asked.id))
    return pb.EmbedResult(vector=pb.Vector(packed=vector.astype("<f4").tobytes()))


def write_product(product: Product, root: str) -> pb.Product:
    """Return a product; `root` is the path below which the HTTP server is."""
    return pb.Product(
        id=product.id,
        title=product.title,
        attributes=_write_attributes(product.attributes),
        image_url=root + image_path(product.id),
        pictures=1 + len(product.views),
    )


def write_listing(listing: Listing, root: str) -> pb.ListProductsResponse:
    """Return some products."""
    return pb.ListProductsResponse(
        snapshot=listing.snapshot,
        total=listing.total,
        products=[write_product(product, root) for product in listing.products],
        facets=_write_facets(listing.facets),
    )


def write_suggestions(snapshot: str, completions: Iterable[Completion]) -> pb.SuggestResponse:
    """Return what a text may become."""
    written = [pb.Suggestion(text=one.text, word=one.word, products=one.products) for one in completions]
    return pb.SuggestResponse(snapshot=snapshot, suggestions=written)


def _add_hits(
    target: RepeatedCompositeFieldContainer[pb.Hit], answer: Answer, fields: HitFields | None, root: str
) -> None:
    """Write hits where they belong: each would be copied there from elsewhere."""
    hidden: Sequence[int | None] = answer.hidden if answer.hidden is not None else [None] * len(answer.hits)
    for hit, count in zip(answer.hits, hidden, strict=True):
        _fill_hit(target.add(id=hit.product.id, hidden=count), hit, fields, root)


def _fill_hit(written: pb.Hit, hit: Hit, fields: HitFields | None, root: str) -> None:
    product, names = hit.product, None if fields is None else fields.names
    if names is None or "title" in names:
        written.title = product.title
    if names is None or "image_url" in names:
        written.image_url = root + image_path(product.id, hit.view)
    if names is None or "score" in names:
        written.score = round_score(hit.score)
    if hit.view is not None and (names is None or "view" in names):
        written.view = hit.view
    if names is None or "attributes" in names:
        kept, attributes = None if fields is None else fields.attributes, written.attributes
        for name, value in product.attributes.items():
            if kept is not None and name not in kept:
                continue
            kind = type(value)  # a call for each of the common ones would take as long as all else here
            if kind is str:
                attributes[name].string_value = value
            elif kind is bool:
                attributes[name].bool_value = value
            else:
                _fill(attributes[name], value)


def _write_attributes(attributes: Mapping[str, Any]) -> dict[str, pb.Value]:
    return {name: write_value(value) for name, value in attributes.items()}


def write_value(value: Any) -> pb.Value:
    """Return an attribute's value with its type. What JSON has as null, such as NaN, is none here, too."""
    written = pb.Value()
    _fill(written, value)
    return written


def _fill(target: pb.Value, value: Any) -> None:
    if isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        _fill_int(target, value)
    elif isinstance(value, float | Decimal) and math.isfinite(value):
        target.double_value = float(value)
    elif isinstance(value, list | tuple):
        target.list_value.SetInParent()
        for inner in value:
            _fill(target.list_value.values.add(), inner)
    else:
        _fill_rare(target, value)


def _fill_rare(target: pb.Value, value: Any) -> None:
    if value is None or isinstance(value, float | Decimal):
        target.null_value.CopyFrom(_NULL)
    elif isinstance(value, datetime):
        target.datetime_value = value.isoformat()
    elif isinstance(value, date):
        target.date_value = value.isoformat()
    elif isinstance(value, time):
        target.time_value = value.isoformat()
    elif isinstance(value, bytes):
        target.bytes_value = value
    elif isinstance(value, dict):
        target.map_value.SetInParent()
        for name, inner in value.items():
            _fill(target.map_value.values[str(name)], inner)
    else:
        target.string_value = str(value)


def _fill_int(target: pb.Value, value: int) -> None:
    if value in _INTS:
        target.int_value = value
    elif value in _UINTS:
        target.uint_value = value
    else:
        target.string_value = str(value)


def _write_facets(facets: Mapping[str, Facet]) -> dict[str, pb.Facet]:
    return {name: _write_facet(facet) for name, facet in facets.items()}


def _write_facet(facet: Facet) -> pb.Facet:
    written = pb.Facet(values=_write_counts(facet.values), others=facet.others, missing=facet.missing)
    if facet.low is not None and facet.high is not None:
        _fill(written.min, facet.low)
        _fill(written.max, facet.high)
    return written


def _write_counts(values: Mapping[str, int]) -> Iterable[pb.FacetCount]:
    return [pb.FacetCount(value=value, count=count) for value, count in values.items()]


def write_current(loaded: LoadedSnapshot, channel: str) -> pb.CurrentSnapshotResponse:
    """Return what is served: the fields that `write_snapshot` writes."""
    fields = write_snapshot(loaded, channel)
    counted = {
        name: pb.Attribute(
            type=one["type"], values=_write_counts(one["values"] or {}), is_counted=one["values"] is not None
        )
        for name, one in fields.pop("attributes").items()
    }
    return pb.CurrentSnapshotResponse(snapshot=pb.Snapshot(**fields, attributes=counted))


def write_all_held(loaded: Iterable[LoadedSnapshot], current: LoadedSnapshot | None) -> pb.ListSnapshotsResponse:
    """Return the snapshots in memory."""
    written = [write_held(one, is_served=one is current) for one in loaded]
    return pb.ListSnapshotsResponse(snapshots=[pb.HeldSnapshot(**one) for one in written])
