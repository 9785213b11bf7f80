"""Embed: the vectors that the served snapshot's encoder makes of pictures."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from lookalike.serving.query.embed_request import EmbedRequest
from lookalike.serving.replies import encode_embeddings
from lookalike.serving.rest.body import read_embed
from lookalike.serving.rest.openapi import describe_embed_form
from lookalike.serving.rest.requests import request_context
from lookalike.serving.rest.responses import respond_json
from lookalike.serving.rest.routes.common import problems, runtime_of
from lookalike.serving.rest.routes.search import MARGIN, TINY_PNG
from lookalike.serving.rest.schema import EmbedReply

router = APIRouter(tags=["search"])

FLOATS_A_HIT = 50
"""So many numbers take about as long to write as one hit."""

_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": describe_embed_form()},
        "application/json": {
            "schema": {"$ref": f"#/components/schemas/{EmbedRequest.__name__}"},
            "examples": {
                "two": {
                    "value": {
                        "images": [{"image": TINY_PNG}, {"url": "https://img.shop.example/shoe.jpg"}],
                        "projected": True,
                    }
                }
            },
        },
    },
}
_CODES = (
    *("malformed_json", "malformed_multipart", "request_timeout", "snapshot_not_held", "body_too_large"),
    *("unsupported_media_type", "no_query", "unknown_field", "bad_field", "bad_crop", "too_many_pictures"),
    *("overloaded", "not_ready", "deadline_exceeded"),
)


@router.post(
    "/v1/embed",
    operation_id="embed",
    summary="Get the vectors of pictures",
    response_model=EmbedReply,
    responses=problems(*_CODES),
    openapi_extra={"requestBody": _BODY},
)
async def embed(request: Request) -> Response:
    """A form with file fields `image`, or JSON with `images`. Each picture is answered for itself: with its vector, or
    with a problem.

    `/v1/search` takes such a vector as `vector`, unless it is projected. A request counts by its pictures where rates
    are limited.
    """
    asked, runtime = request_context(request.scope), runtime_of(request)
    service = runtime.service
    query = await read_embed(request, service.settings.limits)
    runtime.admission.charge(asked, len(query.pictures) - 1)
    found = await service.embed(query, deadline=asked.deadline - MARGIN * service.settings.limits.request_seconds)
    hits = len(query.pictures) * found.dimension // FLOATS_A_HIT
    body = await service.write(lambda: encode_embeddings(found, asked, is_packed=query.is_packed), hits=hits)
    return respond_json(body)
