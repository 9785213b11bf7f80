"""Replies: answers and problems as plain values and as JSON, the same for every gateway that writes JSON.

They are written without a detour through the models that describe them.
Addresses of products: ids hold `/`, spaces and any letter, and still each has one address.
"""

from __future__ import annotations

import base64
import math
import re
import time as clock
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from pydantic_core import to_json

from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.snapshots.products import Product
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.context import RequestContext
from lookalike.serving.errors import ProblemError
from lookalike.serving.live.loaded import LoadedSnapshot
from lookalike.serving.query.options import HitFields
from lookalike.serving.query.query import Query, round_score
from lookalike.serving.query.request import Batch
from lookalike.serving.search.answers import Answer, Answers, Embeddings
from lookalike.serving.search.explanations import Explanation, Match, Understood
from lookalike.serving.search.facets import Facet, count_attributes
from lookalike.tasks.search.searcher import Hit

PRODUCTS = "/v1/products"
ANY = "_"
"""Stands in a path for a product whose id is in the query, as `?id=`."""
_PLAIN_ID = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*")
"""Ids that stand in a path as they are, as most do: finding that out takes a tenth of encoding them."""
PROBLEMS = "/problems"
"""The server's page of problems."""

_AS_THEY_ARE = {str, int, bool, type(None)}
"""The types of values that JSON has."""
_ENCODER = {"name", "fingerprint", "dimension"}
_INDEX = {"key", "dimension", "metric", "nprobe", "ef_search", "k_factor", "trained_on", "reason"}


def image_path(product: str, view: int | None = None) -> str:
    """Return the path of a product's picture from the server's root: of the first one, or of another."""
    path = product_path(product, "image")
    if view is None or view == 1:
        return path
    return f"{path}{'&' if '?' in path else '?'}view={view}"


def product_path(product: str, part: str = "") -> str:
    """Return the path of a product, or of a part of it (`similar`, `image`), from the server's root."""
    if _PLAIN_ID.fullmatch(product) and (part or not product.endswith(("/similar", "/image"))):
        return f"{PRODUCTS}/{product}/{part}" if part else f"{PRODUCTS}/{product}"
    if product in {".", ".."}:  # each client resolves these segments, percent-encoded ones too
        return f"{PRODUCTS}/{ANY}{f'/{part}' if part else ''}?id={product}"
    # Plain slashes stay: some proxies refuse %2F. Empty and dotted segments would be "tidied" by others.
    tidied = any(segment in {"", ".", ".."} for segment in product.split("/"))
    hidden = not part and product.endswith(("/similar", "/image"))
    encoded = quote(product, safe="" if tidied or hidden else "/")
    return f"{PRODUCTS}/{encoded}/{part}" if part else f"{PRODUCTS}/{encoded}"


def encode(content: BaseModel | Mapping[str, Any]) -> bytes:
    """Return a model, or what one describes, as JSON."""
    return to_json(content, inf_nan_mode="null")


def encode_with(content: Mapping[str, Any], name: str, items: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the same with a list under `name`, written item by item: while one is, no other thread has its turn."""
    return encode(content)[:-1] + b',"%s":[%s]}' % (name.encode(), b",".join(encode(item) for item in items))


def write_product(product: Product, root: str) -> dict[str, Any]:
    """Return a product as `ProductReply` describes it; `root` is the path below which this server is."""
    written = _write_shown(product, root)
    return {**written, "pictures": 1 + len(product.views)} if product.views else written


def _write_shown(product: Product, root: str, view: int | None = None) -> dict[str, Any]:
    return {
        "id": product.id,
        "title": product.title,
        "attributes": {name: to_json_value(value) for name, value in product.attributes.items()},
        "image_url": root + image_path(product.id, view),
    }


def _write_hit(hit: Hit, root: str) -> dict[str, Any]:
    written = {**_write_shown(hit.product, root, hit.view), "score": round_score(hit.score)}
    return written if hit.view is None else {**written, "view": hit.view}


def write_hits(
    hits: Sequence[Hit], hidden: Sequence[int] | None, fields: HitFields | None = None, *, root: str = ""
) -> list[dict[str, Any]]:
    """Return hits as `HitReply` describes them; `hidden` where duplicates are collapsed."""
    written = [_write_hit(hit, root) for hit in hits]
    if fields is not None:
        written = [fields.select(whole) for whole in written]
    if hidden is not None:
        written = [{**hit, "hidden": count} for hit, count in zip(written, hidden, strict=True)]
    return written


def write_understood(understood: Understood) -> dict[str, Any]:
    """Return what a query was understood as, as `UnderstoodReply` describes it."""
    words = [_write_match(one) for one in understood.words]
    written: dict[str, Any] = {"words": words, "unknown": list(understood.unknown)}
    if understood.colours:
        written["colours"] = list(understood.colours)
    if not understood.looks_like:
        return written
    likes = [{"id": one.id, "title": one.title, "weight": round_score(one.weight)} for one in understood.looks_like]
    return {**written, "looks_like": likes}


def write_why(explanation: Explanation) -> dict[str, Any]:
    """Return what a hit was found by, as `WhyReply` describes it."""
    scores = {name: round_score(score) for name, score in explanation.scores.items()}
    written = {"scores": scores, "words": [_write_match(one) for one in explanation.matches]}
    return written if explanation.example is None else {**written, "example": explanation.example}


def _write_match(match: Match) -> dict[str, str]:
    return {"word": match.word, "found": match.found, "how": match.how}


def write_facets(facets: Mapping[str, Facet]) -> dict[str, dict[str, Any]]:
    """Return facets as `FacetReply` describes them."""
    return {name: _write_facet(facet) for name, facet in facets.items()}


def _write_facet(facet: Facet) -> dict[str, Any]:
    found = {"values": facet.values, "others": facet.others, "missing": facet.missing}
    return found if facet.low is None or facet.high is None else {**found, "min": facet.low, "max": facet.high}


def to_json_value(value: Any) -> Any:  # noqa: PLR0911 - one for each kind
    """Return an attribute's value as JSON has it: Parquet knows more types, and JSON no NaN."""
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, list | tuple):
        return [to_json_value(inner) for inner in value]
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(name): to_json_value(inner) for name, inner in value.items()}
    return str(value)


def write_answer(query: Query, answer: Answer, *, root: str = "") -> dict[str, Any]:
    """Return the hits of an answer, how many products were searched, and facets where the query asks for some."""
    hits = write_hits(answer.hits, answer.hidden, query.options.hit_fields, root=root)
    written: dict[str, Any] = {"total": answer.total, "hits": hits}
    if answer.explained is not None:
        for hit, why in zip(hits, answer.explained.hits, strict=True):
            hit["why"] = write_why(why)
        if answer.explained.understood is not None:
            written["understood"] = write_understood(answer.explained.understood)
    return {**written, "facets": write_facets(answer.facets)} if query.options.facets else written


def encode_answer(query: Query, answer: Answer, asked: RequestContext, *, root: str = "") -> bytes:
    """Return an answer as `SearchReply` describes it, as JSON."""
    head = {"snapshot": answer.snapshot, "took_ms": elapsed_ms(asked)}
    return encode({**head, **write_answer(query, answer, root=root)})


def encode_batch(batch: Batch, found: Answers, asked: RequestContext, *, root: str = "") -> bytes:
    """Return the answers of a batch as `BatchReply` describes them, as JSON."""
    results = (
        write_result(query, answer, asked, root=root)
        for query, answer in zip(batch.queries, found.answers, strict=True)
    )
    return encode_with({"snapshot": found.snapshot, "took_ms": elapsed_ms(asked)}, "results", results)


def encode_line(
    place: int,
    snapshot: str,
    query: Query | ProblemError,
    answer: Answer | ProblemError,
    asked: RequestContext,
    root: str,
) -> bytes:
    """Return the answer to one query of a batch as `LineReply` describes it: a line of JSON."""
    head = {"place": place, "snapshot": snapshot, "took_ms": elapsed_ms(asked)}
    return encode({**head, **write_result(query, answer, asked, root=root)}) + b"\n"


def write_result(
    query: Query | ProblemError, answer: Answer | ProblemError, asked: RequestContext, *, root: str = ""
) -> dict[str, Any]:
    """Return what came of one query of several: hits, or a problem."""
    if isinstance(query, ProblemError):
        return {"problem": write_problem(query, asked.id)}
    if isinstance(answer, ProblemError):
        return {"problem": write_problem(answer, asked.id)}
    return write_answer(query, answer, root=root)


def write_vector(vector: NDArray[np.float32], *, is_packed: bool) -> list[float] | str:
    """Return a vector as a list of numbers, or as base64 of its 32-bit floats, little-endian."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if is_packed else vector.tolist()


def write_encoder(encoder: EncoderSection) -> dict[str, Any]:
    """Return what is told of an encoder."""
    return encoder.model_dump(include=_ENCODER)


def encode_embeddings(found: Embeddings, asked: RequestContext, *, is_packed: bool) -> bytes:
    """Return vectors of pictures as `EmbedReply` describes them, as JSON."""
    head = {
        "snapshot": found.snapshot,
        "took_ms": elapsed_ms(asked),
        "encoder": write_encoder(found.encoder),
        "dimension": found.dimension,
        "projected": found.is_projected,
    }
    results: Iterable[dict[str, Any]] = (
        {"problem": write_problem(vector, asked.id)}
        if isinstance(vector, ProblemError)
        else {"vector": write_vector(vector, is_packed=is_packed)}
        for vector in found.vectors
    )
    return encode_with(head, "results", results)


def write_snapshot(loaded: LoadedSnapshot, channel: str) -> dict[str, Any]:
    """Return what is served as `SnapshotReply` describes it.

    Where the catalogue lies, and who published it, is the operator's business: `lookalike snapshots show`.
    """
    manifest, entry = loaded.manifest, loaded.entry
    return {
        "id": manifest.id,
        "created_at": manifest.created_at,
        "products": manifest.products,
        "attribution": manifest.catalogue.attribution,
        "encoder": write_encoder(manifest.encoder),
        "index": {**manifest.index.model_dump(include=_INDEX), "shards": len(manifest.shards)},
        "quality": manifest.quality,
        "parent": manifest.parent,
        "channel": {
            "name": channel,
            "number": entry.number,
            "moved_at": entry.moved_at,
            "reason": entry.reason,
        },
        "attributes": {
            name: {"type": attribute.type, "values": attribute.values}
            for name, attribute in count_attributes(loaded.searcher.products).items()
        },
    }


def write_held(loaded: LoadedSnapshot, *, is_served: bool) -> dict[str, Any]:
    """Return a snapshot in memory as `HeldReply` describes it."""
    return {
        "id": loaded.manifest.id,
        "state": "serving" if is_served else "retiring",
        "since": loaded.since,
        "queries": loaded.queries,
        "products": loaded.manifest.products,
    }


def write_problem(problem: ProblemError, request: str) -> dict[str, Any]:
    """Return a problem as RFC 9457 has it; `request` is the request's id."""
    known = ERROR_CODES[problem.code]
    return {
        "type": problem_type(problem.code),
        "title": known.title,
        "status": known.status,
        "detail": str(problem),
        "code": problem.code,
        "request_id": request,
    }


def problem_type(code: str) -> str:
    """Return what identifies a code: the address of its section on this server's page of problems."""
    return f"{PROBLEMS}#{code}"


def elapsed_ms(asked: RequestContext) -> float:
    """Return the milliseconds since the request came."""
    return round(1000 * (clock.monotonic() - asked.started), 2)
