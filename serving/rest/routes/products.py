"""Products: one of them, its lookalikes, its picture, and some to begin with."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Query as FromUrl
from starlette.responses import Response

from lookalike.data.errors import ImageRejectedError, UnknownProductError
from lookalike.serving.errors import ProblemError
from lookalike.serving.query.listing import LISTED, MAX_LISTED, read_listing
from lookalike.serving.query.options import TEXT_FIELDS, check_options, read_options
from lookalike.serving.query.query import ProductId, Query
from lookalike.serving.query.request import read_text
from lookalike.serving.replies import ANY, PRODUCTS, write_facets, write_product
from lookalike.serving.rest.openapi import describe_parameters, describe_text
from lookalike.serving.rest.requests import request_context
from lookalike.serving.rest.responses import PartRoute, content_type, reply
from lookalike.serving.rest.routes.common import (
    FacetsFromUrl,
    FilterFromUrl,
    SnapshotFromUrl,
    problems,
    runtime_of,
)
from lookalike.serving.rest.routes.search import search_reply
from lookalike.serving.rest.schema import OneProductReply, ProductsReply, SearchReply
from lookalike.serving.search.lookup import check_lookup
from lookalike.serving.search.service import SearchService
from lookalike.serving.search.thumbnails import SIZES

PICTURE_HEADERS = {
    "cache-control": "private, max-age=300",
    # Opened on its own, a picture is nothing but a picture.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "cross-origin-resource-policy": "cross-origin",
}

_log = logging.getLogger(__name__)

router = APIRouter(tags=["products"])
parts = APIRouter(tags=["products"], route_class=PartRoute)

_ID = f"The product's id, where the path has `{ANY}` for it: for the ids `.` and `..`."
IdFromUrl = Annotated[str | None, FromUrl(alias="id", description=_ID)]
_ID_PARAMETERS = [
    {"name": "product_id", "in": "path", "required": True, "schema": {"type": "string", "title": "Product Id"}},
    {
        "name": "id",
        "in": "query",
        "required": False,
        "description": _ID,
        "schema": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": _ID, "title": "Id"},
    },
]
"""The same as FastAPI describes it, for a route that reads its address itself."""

FindFromUrl = Annotated[
    str | None,
    FromUrl(description="Look up by name: words that a title has, each of them, or the beginning of an id."),
]

FacetsOfFromUrl = Annotated[
    str | None,
    FromUrl(
        description="`products`: count facets under all filters. `hits`: each as if there were no filter on itself.",
        json_schema_extra={"enum": [*TEXT_FIELDS["facets_of"].choices, None]},
    ),
]
SortFromUrl = Annotated[
    str | None,
    FromUrl(
        description="The order of all products that satisfy the filters: `price:asc`, `added:desc`, any attribute that "
        "is a number, a date or a time; those without a value come last."
    ),
]

_FILTER_CODES = ("bad_filter", "too_many_filters", "unknown_attribute")


@router.get(
    PRODUCTS,
    operation_id="listProducts",
    summary="List some products",
    response_model=ProductsReply,
    responses=problems(
        *(
            "bad_limit",
            "bad_offset",
            "bad_field",
            "bad_facets",
            "bad_sort",
            *_FILTER_CODES,
            "snapshot_not_held",
            "overloaded",
            "not_ready",
        )
    ),
)
async def list_products(
    request: Request,
    limit: Annotated[int, FromUrl(description=f"How many, {MAX_LISTED} at most.")] = LISTED,
    offset: Annotated[int, FromUrl(description="How many to skip.")] = 0,
    find: FindFromUrl = None,
    filter: FilterFromUrl = None,  # noqa: A002 - the name in the URL
    facets: FacetsFromUrl = None,
    facets_of: FacetsOfFromUrl = None,
    sort: SortFromUrl = None,
    snapshot: SnapshotFromUrl = None,
) -> Response:
    """In the order of the index, which is that of the pictures' hashes: any stretch of it is a mixed sample.

    With `find`, those come first that are called so.
    """
    service = runtime_of(request).service
    names = TEXT_FIELDS["facets"].read(facets or [])
    given = {
        "limit": limit,
        "offset": offset,
        "filter": filter,
        "facets": names,
        "facets_of": None if facets_of is None else TEXT_FIELDS["facets_of"].read([facets_of]),
        "sort": sort,
        "snapshot": snapshot,
    }
    options = read_listing(given, service.settings.limits)
    found = await service.products(options, check_lookup(find))
    shown: dict[str, Any] = {
        "snapshot": found.snapshot,
        "total": found.total,
        "products": [write_product(product, request.scope["root_path"]) for product in found.products],
    }
    if options.facets:
        shown["facets"] = write_facets(found.facets)
    return reply(shown)


@parts.get(
    f"{PRODUCTS}/{{product_id:product}}/similar",
    operation_id="similarProducts",
    summary="Find what looks like a product",
    response_model=SearchReply,
    responses=problems(
        *(
            "bad_k",
            "bad_offset",
            "bad_min_score",
            "bad_text",
            "bad_weights",
            "no_text_channel",
            "bad_group_by",
            "bad_sort",
            "bad_reach",
            "bad_collapse",
            "bad_facets",
            "bad_fields",
            *_FILTER_CODES,
        ),
        *("unknown_product", "snapshot_not_held", "overloaded", "not_ready", "deadline_exceeded"),
    ),
    openapi_extra={"parameters": [*_ID_PARAMETERS, describe_text(), *describe_parameters()]},
)
async def similar_products(request: Request) -> Response:
    """The product itself is left out. With `text`, what looks like it and is called so."""
    service = runtime_of(request).service
    options = check_options(read_options(request.query_params.getlist), service.settings.limits)
    product_id = _choose_id(request.path_params["product_id"], request.query_params.get("id"))
    text = read_text(request.query_params.getlist("text"))
    query = Query((ProductId(product_id), text) if text else (ProductId(product_id),), options)
    asked = request_context(request.scope)
    try:
        answer = await service.search(query, deadline=asked.deadline)
    except UnknownProductError:
        if not _is_whole_id(service, product_id, "similar"):
            raise
        return await get_product(request, f"{product_id}/similar")
    return await search_reply(request, query, answer)


@parts.get(
    f"{PRODUCTS}/{{product_id:product}}/image",
    operation_id="productImage",
    summary="Get a product's picture",
    response_class=Response,
    responses={
        200: {"description": "The picture as the catalogue has it", "content": {"image/*": {}}},
        304: {"description": "The picture is the one that the caller has"},
        **problems(
            *("unknown_product", "unknown_view", "bad_field", "bad_size", "image_missing", "image_unreadable"),
            *("overloaded", "not_ready", "deadline_exceeded"),
        ),
    },
)
async def product_image(
    request: Request,
    product_id: str,
    size: Annotated[
        int | None,
        FromUrl(
            description="Longest side in pixels, of a small copy: 64, 128, 256, 512 or 1024.",
            json_schema_extra={"enum": [*SIZES, None]},
        ),
    ] = None,
    view: Annotated[int, FromUrl(description="Which of several pictures; the first one is 1.")] = 1,
    named: IdFromUrl = None,
) -> Response:
    """With an ETag, so that an unchanged picture is sent once. A small copy is a JPEG, upright and on white."""
    service = runtime_of(request).service
    product_id = _choose_id(product_id, named)
    if _is_whole_id(service, product_id, "image"):
        return await get_product(request, f"{product_id}/image")
    if size is not None and size not in SIZES:
        raise ProblemError("bad_size", f"`size` is {size}: ask for {', '.join(map(str, SIZES))}, or for none.")
    _, product = await service.product(product_id)
    pictures = 1 + len(product.views)
    if not 1 <= view <= pictures:
        raise ProblemError("unknown_view", f"`view` is {view}: the product has {pictures} picture(s), from 1 on.")
    with _explain_missing(product_id):
        if size is not None:
            made = await runtime_of(request).thumbnails.get(product, size, view)
            return _respond_picture(request, made.data, "image/jpeg", made.etag)
        data = await service.picture(product, view)
    kind = content_type(data)
    if kind is None:
        raise ProblemError("image_unreadable", "What the catalogue names is no picture that may be shown.")
    return _respond_picture(request, data, kind, f'"{hashlib.sha256(data).hexdigest()[:32]}"')


@router.get(
    f"{PRODUCTS}/{{product_id:product}}",
    operation_id="getProduct",
    summary="Get a product",
    response_model=OneProductReply,
    responses=problems("unknown_product", "not_ready"),
)
async def get_product(request: Request, product_id: str, named: IdFromUrl = None) -> Response:
    """An id may hold `/`. One that ends in `/similar` or `/image` is written with `%2F` for that slash."""
    snapshot, product = await runtime_of(request).service.product(_choose_id(product_id, named))
    return reply({**write_product(product, request.scope["root_path"]), "snapshot": snapshot})


def _choose_id(in_path: str, in_query: str | None) -> str:
    return in_query if in_path == ANY and in_query is not None else in_path


def _is_whole_id(service: SearchService, product: str, part: str) -> bool:
    """Tell whether `product/part` is itself a product, and `product` is none: some proxies undo `%2F`."""
    return not service.has_product(product) and service.has_product(f"{product}/{part}")


@contextmanager
def _explain_missing(product: str) -> Iterator[None]:
    """Tell callers that a picture cannot be had; why, with files and addresses, is for the server's log."""
    try:
        yield
    except ImageRejectedError as error:
        _log.warning("the picture of %r: %s", product, error)
        if error.reason == "missing":
            detail = "The picture is no longer where the catalogue had it: run `lookalike reindex` again."
            raise ProblemError("image_missing", detail) from error
        raise ProblemError("image_unreadable", "The picture cannot be read where it is kept: try again.") from error


def _respond_picture(request: Request, data: bytes, kind: str, etag: str) -> Response:
    headers = {**PICTURE_HEADERS, "etag": etag}
    if _has_etag(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=kind, headers=headers)


def _has_etag(given: str, etag: str) -> bool:
    return given.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in given.split(",")}
