"""Search: by a picture, by a product, by a vector."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.models import SearchReply, SearchRequest, hit_reply, reply
from serving.problems import KINDS
from serving.queries import ImageQuery, ProductQuery, Query, read_query
from serving.requests import RequestContext, context
from serving.routes.common import Service, problems
from serving.service import Answer, SearchService

router = APIRouter(tags=["search"])

_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "string", "format": "binary", "description": "The picture, as a file."},
        "k": {"type": "integer", "default": 10, "description": "How many hits."},
        "offset": {"type": "integer", "default": 0, "description": "How many hits to skip."},
        "filter": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Conditions that all must hold, such as `category=shoes`; repeat the field.",
        },
    },
}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": _FORM},
        "application/json": {
            "schema": {"$ref": f"#/components/schemas/{SearchRequest.__name__}"},
            "examples": {
                "product": {"value": {"product_id": "shoes/red sneaker.png", "k": 5, "filter": ["category=shoes"]}},
                "image": {"value": {"image": "iVBORw0KGgoAAAANSUhEUg…", "k": 10}},
                "vector": {"value": {"vector": [0.12, -0.03, 0.4], "k": 10, "offset": 20}},
            },
        },
    },
}
_ELSEWHERE = {"not_found", "image_missing", "image_unreadable", "bad_limit", "cross_origin_refused"}
_CODES = [code for code in KINDS if code not in _ELSEWHERE]


@router.post(
    "/v1/search",
    operation_id="search",
    summary="Find products that look like a picture, a product or a vector",
    response_model=SearchReply,
    responses=problems(*_CODES),
    openapi_extra={"requestBody": _BODY},
)
async def search(request: Request, service: Service) -> Response:
    """A form with the file field `image`, or JSON with exactly one of `image` (base64), `product_id` and `vector`.

    A product that is searched for is left out of its own hits. All hits of a reply come from the one snapshot that
    it names.
    """
    asked = context(request.scope)
    query = await read_query(request, service.settings.limits)
    return search_reply(service, asked, await _answer(service, query, asked.deadline))


def search_reply(service: SearchService, asked: RequestContext, answer: Answer) -> Response:
    """Return an answer as it is written."""
    with service.metrics.stage("hydrate"):
        hits = [hit_reply(hit) for hit in answer.hits]
        took = round(1000 * (time.monotonic() - asked.started), 2)
        return reply(SearchReply.model_construct(snapshot=answer.snapshot, took_ms=took, hits=hits))


async def _answer(service: SearchService, query: Query, deadline: float) -> Answer:
    if isinstance(query, ImageQuery):
        return await service.by_image(query.image, query.ranking, deadline=deadline)
    if isinstance(query, ProductQuery):
        return await service.by_product(query.product, query.ranking)
    return await service.by_vector(query.vector, query.ranking)
