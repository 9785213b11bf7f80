"""Products: one of them, its lookalikes, its picture, and some to begin with."""

from __future__ import annotations

import hashlib
import logging
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from data.errors import ImageRejectedError
from serving.addresses import PRODUCTS, PartRoute
from serving.models import OneProductReply, ProductsReply, SearchReply, product_reply, reply
from serving.pictures import content_type
from serving.problems import ProblemError
from serving.queries import make_conditions
from serving.requests import context
from serving.routes.common import FilterFromUrl, RankingFromUrl, Service, problems
from serving.routes.search import search_reply
from serving.service import Ranking, SearchService

MAX_LISTED = 100
MAX_SKIPPED = 10**9
PICTURE_HEADERS = {
    "cache-control": "private, max-age=300",
    # Opened on its own, a picture is nothing but a picture.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "cross-origin-resource-policy": "cross-origin",
}

_log = logging.getLogger(__name__)

router = APIRouter(tags=["products"])
parts = APIRouter(tags=["products"], route_class=PartRoute)

_FILTER_CODES = ("bad_filter", "too_many_filters", "unknown_attribute")


@router.get(
    PRODUCTS,
    operation_id="listProducts",
    summary="List some products",
    response_model=ProductsReply,
    responses=problems("bad_limit", "bad_offset", *_FILTER_CODES, "overloaded", "not_ready"),
)
async def list_products(
    service: Service,
    limit: Annotated[int, Query(description=f"How many, {MAX_LISTED} at most.")] = 24,
    offset: Annotated[int, Query(description="How many to skip.")] = 0,
    filter: FilterFromUrl = None,  # noqa: A002 - the name in the URL
) -> Response:
    """In the order of the index, which is that of the pictures' hashes: any stretch of it is a mixed sample."""
    if not 1 <= limit <= MAX_LISTED:
        raise ProblemError("bad_limit", f"`limit` is {limit}: ask for 1 to {MAX_LISTED} products.")
    if not 0 <= offset <= MAX_SKIPPED:
        raise ProblemError("bad_offset", f"`offset` is {offset}: skip 0 to {MAX_SKIPPED:,} products.")
    conditions = make_conditions(filter or [], service.settings.limits)
    found = await service.products(Ranking(limit, offset, conditions))
    shown = [product_reply(product) for product in found.products]
    return reply(ProductsReply.model_construct(snapshot=found.snapshot, total=found.total, products=shown))


@parts.get(
    f"{PRODUCTS}/{{product_id:path}}/similar",
    operation_id="similarProducts",
    summary="Find what looks like a product",
    response_model=SearchReply,
    responses=problems(
        "bad_k", "bad_offset", *_FILTER_CODES, "unknown_product", "overloaded", "not_ready", "deadline_exceeded"
    ),
)
async def similar_products(request: Request, service: Service, product_id: str, ranking: RankingFromUrl) -> Response:
    """The product itself is left out."""
    if _is_whole_id(service, product_id, "similar"):
        return await get_product(service, f"{product_id}/similar")
    asked = context(request.scope)
    return search_reply(service, asked, await service.by_product(product_id, ranking))


@parts.get(
    f"{PRODUCTS}/{{product_id:path}}/image",
    operation_id="productImage",
    summary="Get a product's picture",
    response_class=Response,
    responses={
        200: {"description": "The picture as the catalogue has it", "content": {"image/*": {}}},
        304: {"description": "The picture is the one that the caller has"},
        **problems("unknown_product", "image_missing", "image_unreadable", "not_ready"),
    },
)
async def product_image(request: Request, service: Service, product_id: str) -> Response:
    """With an ETag, so that an unchanged picture is sent once."""
    if _is_whole_id(service, product_id, "image"):
        return await get_product(service, f"{product_id}/image")
    data = await _picture(service, product_id)
    kind = content_type(data)
    if kind is None:
        raise ProblemError("image_unreadable", "What the catalogue names is no picture that may be shown.")
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {**PICTURE_HEADERS, "etag": etag}
    if _has(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=kind, headers=headers)


@router.get(
    f"{PRODUCTS}/{{product_id:path}}",
    operation_id="getProduct",
    summary="Get a product",
    response_model=OneProductReply,
    responses=problems("unknown_product", "not_ready"),
)
async def get_product(service: Service, product_id: str) -> Response:
    """An id may hold `/`. One that ends in `/similar` or `/image` is written with `%2F` for that slash."""
    snapshot, product = await service.product(product_id)
    fields = product_reply(product).model_dump()
    return reply(OneProductReply.model_construct(**fields, snapshot=snapshot))


def _is_whole_id(service: SearchService, product: str, part: str) -> bool:
    """Tell whether `product/part` is itself a product, and `product` is none: some proxies undo `%2F`."""
    return not service.has_product(product) and service.has_product(f"{product}/{part}")


async def _picture(service: SearchService, product: str) -> bytes:
    try:
        return await service.picture(product)
    except ImageRejectedError as error:
        # The message names files of this machine: for its log, not for callers.
        _log.warning("the picture of %r: %s", product, error)
        if error.reason == "missing":
            detail = "The picture is no longer where the catalogue had it: run `lookalike reindex` again."
            raise ProblemError("image_missing", detail) from error
        raise ProblemError("image_unreadable", "The picture cannot be read where it is kept: try again.") from error


def _has(given: str, etag: str) -> bool:
    return given.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in given.split(",")}
