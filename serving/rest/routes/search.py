"""Search: by pictures, by products, by vectors, one query or many."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Query as FromUrl
from starlette.responses import Response

from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.errors import ProblemError
from lookalike.serving.query.listing import read_listing
from lookalike.serving.query.options import check_options, read_options
from lookalike.serving.query.query import Query
from lookalike.serving.query.request import MAX_TEXT, Batch, BatchRequest, SearchRequest, read_text
from lookalike.serving.replies import encode_answer, encode_batch, encode_line
from lookalike.serving.rest.body import read_batch, read_query
from lookalike.serving.rest.openapi import describe_form, describe_parameters, describe_text
from lookalike.serving.rest.requests import request_context
from lookalike.serving.rest.responses import (
    LINES,
    Deliver,
    DirectRoute,
    LinesResponse,
    reply,
    respond_json,
    wants_lines,
)
from lookalike.serving.rest.routes.common import FilterFromUrl, SnapshotFromUrl, problems, runtime_of
from lookalike.serving.rest.schema import BatchReply, LineReply, SearchReply, SuggestReply
from lookalike.serving.search.answers import Answer
from lookalike.serving.search.suggestions import MAX_SUGGESTED, SUGGESTED

router = APIRouter(tags=["search"], route_class=DirectRoute)

MARGIN = 0.05
"""Share of a request's time that a batch keeps for its reply: queries without an answer by then get an error."""


TINY_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg=="
_QUERY_EXAMPLES: dict[str, Any] = {
    "product": {"value": {"product_id": "shoes/red sneaker.png", "k": 5, "filter": ["category=shoes"]}},
    "image": {"value": {"image": TINY_PNG, "crop": [0.1, 0.0, 0.6, 0.9], "k": 10}},
    "url": {"value": {"url": "https://img.shop.example/shoe.jpg", "min_score": 0.5}},
    "text": {"value": {"text": "red sneaker", "filter": ["price<=50"], "explain": True}},
    "image and text": {"value": {"image": TINY_PNG, "text": "red", "weights": {"words": 0.5}}},
    "vector": {"value": {"vector": [0.12, -0.03, 0.4], "k": 10, "offset": 20}},
    "examples": {
        "value": {
            "positive": [{"image": TINY_PNG}, {"product_id": "shoes/red sneaker.png"}],
            "negative": [{"product_id": "shoes/black boot.png"}],
            "group_by": "model",
            "facets": ["category"],
            "fields": ["title", "attributes.price"],
        }
    },
}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": describe_form()},
        "application/json": {
            "schema": {"$ref": f"#/components/schemas/{SearchRequest.__name__}"},
            "examples": _QUERY_EXAMPLES,
        },
    },
}
_BATCH_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"$ref": f"#/components/schemas/{BatchRequest.__name__}"},
            "examples": {"two": {"value": {"queries": [{"product_id": "a.png", "k": 3}, {"image": TINY_PNG}]}}},
        },
    },
}
_LINES: dict[str, Any] = {
    "description": "The answers, together or line by line.",
    "content": {LINES: {"schema": {"$ref": f"#/components/schemas/{LineReply.__name__}"}}},
}
_ELSEWHERE = {
    *("not_found", "image_missing", "image_unreadable", "bad_limit", "bad_size", "cross_origin_refused"),
    *("too_many_queries", "too_many_pictures"),
}
_CODES = [code for code in ERROR_CODES if code not in _ELSEWHERE]
_TEXT_CODES = (
    *("no_query", "bad_text", "bad_k", "bad_offset", "bad_min_score", "bad_weights", "bad_group_by", "bad_collapse"),
    *("bad_facets", "bad_fields", "bad_sort", "bad_reach", "bad_field", "bad_filter", "too_many_filters"),
    *("unknown_attribute", "no_text_channel", "snapshot_not_held", "overloaded", "not_ready", "deadline_exceeded"),
)
_BATCH_CODES = (
    *("malformed_json", "request_timeout", "snapshot_not_held", "body_too_large", "unsupported_media_type"),
    *("no_query", "unknown_field", "bad_field", "too_many_queries", "too_many_pictures", "not_ready"),
    "deadline_exceeded",
)


@router.post(
    "/v1/search",
    operation_id="search",
    summary="Find products that look like a picture, a product, a vector, or several of them, or that are called so",
    response_model=SearchReply,
    responses=problems(*_CODES),
    openapi_extra={"requestBody": _BODY},
)
async def search(request: Request) -> Response:
    """A form with the file field `image`, `text` or both, or JSON with one of `image` (base64), `url`, `product_id`,
    `vector`, `text` and `positive`, which holds several of them. A `text` may stand beside any of the first four.

    Products that are searched for are left out of their own hits. All hits of a reply come from the one snapshot that
    it names.
    """
    asked, service = request_context(request.scope), runtime_of(request).service
    query = await read_query(request, service.settings.limits)
    return await search_reply(request, query, await service.search(query, deadline=asked.deadline))


@router.get(
    "/v1/search",
    operation_id="searchText",
    summary="Find products by the words of their titles and attributes",
    response_model=SearchReply,
    responses=problems(*_TEXT_CODES),
    openapi_extra={"parameters": [describe_text(required=True), *describe_parameters()]},
)
async def search_text(request: Request) -> Response:
    """As `POST /v1/search` with `text`, in an address."""
    asked, service = request_context(request.scope), runtime_of(request).service
    options = check_options(read_options(request.query_params.getlist), service.settings.limits)
    text = read_text(request.query_params.getlist("text"))
    if text is None:
        raise ProblemError("no_query", "The address has no `text`: send one, or search by a picture with POST.")
    query = Query((text,), options)
    return await search_reply(request, query, await service.search(query, deadline=asked.deadline))


@router.get(
    "/v1/suggest",
    operation_id="suggest",
    summary="Complete or correct the last word of a text",
    response_model=SuggestReply,
    responses=problems(
        *("bad_text", "bad_limit", "bad_filter", "too_many_filters", "unknown_attribute", "bad_field"),
        *("no_text_channel", "snapshot_not_held", "overloaded", "not_ready"),
    ),
)
async def suggest(
    request: Request,
    text: Annotated[str, FromUrl(description=f"What somebody has typed so far, {MAX_TEXT} letters at most.")] = "",
    limit: Annotated[int, FromUrl(description=f"How many, {MAX_SUGGESTED} at most.")] = SUGGESTED,
    filter: FilterFromUrl = None,  # noqa: A002 - the name in the URL
    snapshot: SnapshotFromUrl = None,
) -> Response:
    """Only products that satisfy the filters count. Words are shown as some title has them."""
    service = runtime_of(request).service
    options = read_listing({"filter": filter, "snapshot": snapshot}, service.settings.limits)
    found, completions = await service.suggest(text, limit, options)
    return reply({"snapshot": found, "suggestions": [asdict(one) for one in completions]})


@router.post(
    "/v1/search/batch",
    operation_id="searchBatch",
    summary="Answer several queries",
    response_model=BatchReply,
    responses={200: _LINES, **problems(*_BATCH_CODES)},
    openapi_extra={"requestBody": _BATCH_BODY},
)
async def search_batch(request: Request) -> Response:
    """Each query is as that of `POST /v1/search`, and is answered for itself: with hits, or with a problem.

    All come from one snapshot. A batch counts by its queries where rates are limited. With
    `Accept: application/x-ndjson` each answer is a line, sent as soon as it is ready.
    """
    asked, runtime = request_context(request.scope), runtime_of(request)
    service = runtime.service
    batch = await read_batch(request, service.settings.limits)
    runtime.admission.charge(asked, len(batch.queries) - 1)
    deadline = asked.deadline - MARGIN * service.settings.limits.request_seconds
    if wants_lines(request.headers):
        return LinesResponse(partial(_send_lines, request, batch, deadline))
    found = await service.search_all(batch.queries, batch.snapshot, deadline=deadline)
    root: str = request.scope["root_path"]
    hits = sum(len(answer.hits) for answer in found.answers if isinstance(answer, Answer))
    return respond_json(await service.write(lambda: encode_batch(batch, found, asked, root=root), hits=hits))


async def _send_lines(request: Request, batch: Batch, deadline: float, deliver: Deliver) -> None:
    """Send each answer of a batch as it is ready."""
    asked, runtime = request_context(request.scope), runtime_of(request)
    root: str = request.scope["root_path"]

    async def write(place: int, snapshot: str, answer: Answer | ProblemError) -> None:
        line = partial(encode_line, place, snapshot, batch.queries[place], answer, asked, root=root)
        hits = len(answer.hits) if isinstance(answer, Answer) else 0
        await deliver(await runtime.service.write(line, hits=hits))

    await runtime.service.search_each(
        batch.queries, batch.snapshot, write, lambda: runtime.replies.share(lambda: asked.payer), deadline=deadline
    )


async def search_reply(request: Request, query: Query, answer: Answer) -> Response:
    """Return an answer as it is written."""
    asked, service = request_context(request.scope), runtime_of(request).service
    root: str = request.scope["root_path"]
    written = partial(encode_answer, query, answer, asked, root=root)
    return respond_json(await service.write(written, hits=len(answer.hits)))
