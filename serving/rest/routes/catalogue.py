"""For operators: what looks wrong in the served products. Looked for when it is asked, and bounded."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from lookalike.serving.rest.catalogue_schema import (
    CatalogueReply,
    PoorPicturesReply,
    write_catalogue,
    write_pictures,
)
from lookalike.serving.rest.requests import request_context
from lookalike.serving.rest.responses import reply
from lookalike.serving.rest.routes.common import check_operator, problems, runtime_of
from lookalike.serving.rest.routes.console import read_store

MOST_PICTURES = 500

router = APIRouter(prefix="/v1/admin", tags=["admin"])


@router.get(
    "/catalogue",
    operation_id="examineCatalogue",
    summary="What looks wrong in the served products",
    response_model=CatalogueReply,
    responses=problems("unknown_attribute", "bad_field", "store_unavailable", "not_ready"),
)
async def examine_catalogue(
    request: Request,
    attribute: Annotated[
        str | None, Query(description="One that names a kind of product, such as `category`: strays are looked for.")
    ] = None,
) -> Response:
    """Duplicates, products whose neighbours nearly all have another category, the age of the catalogue, and how well it
    answers queries. Neighbours of 2,000 products are looked at; each part takes three seconds at most.
    """
    runtime = runtime_of(request)
    check_operator(request_context(request.scope))
    found = await runtime.examiner.examine(attribute)
    run = await read_store(lambda: runtime.board.last_run(runtime.settings.channel))
    root: str = request.scope["root_path"]
    return reply(write_catalogue(found, run, runtime.metrics.families(), root))


@router.get(
    "/catalogue/pictures",
    operation_id="examinePictures",
    summary="Pictures that are tiny, blurred or missing",
    response_model=PoorPicturesReply,
    responses=problems("bad_limit", "overloaded", "not_ready"),
)
async def examine_pictures(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST_PICTURES, description="How many to look at, chosen by chance.")] = 100,
) -> Response:
    """Each is read where the catalogue has it, for six seconds at most together."""
    check_operator(request_context(request.scope))
    snapshot, found = await runtime_of(request).examiner.examine_pictures(limit)
    return reply(write_pictures(snapshot, found, request.scope["root_path"]))
