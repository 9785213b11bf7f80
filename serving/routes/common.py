"""What the routes share: the service, and how their problems are documented."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from serving.examples import ProductId
from serving.examples import Query as Asked
from serving.fields import parse_fields
from serving.forms import split
from serving.kinds import KINDS
from serving.models import DEFAULT_K, ProblemReply
from serving.problems import MEDIA_TYPE, ProblemError, type_of
from serving.queries import make_facets, make_ranking
from serving.service import SearchService


async def get_service(request: Request) -> SearchService:  # not async, FastAPI would ask a thread for it each time
    """Return the application's search service."""
    service: SearchService = request.app.state.service
    return service


Service = Annotated[SearchService, Depends(get_service)]

FilterFromUrl = Annotated[
    list[str] | None, Query(description="A condition such as `category=shoes`; may be repeated, all must hold.")
]
FacetsFromUrl = Annotated[
    list[str] | None,
    Query(description="An attribute whose values are counted among the products that fit; may be repeated."),
]
SnapshotFromUrl = Annotated[
    str | None, Query(description="Ask this snapshot, which an earlier reply named: so that pages fit together.")
]


async def get_query(
    service: Service,
    product_id: str,
    k: Annotated[int, Query(description="How many hits.")] = DEFAULT_K,
    offset: Annotated[int, Query(description="How many hits to skip.")] = 0,
    filter: FilterFromUrl = None,  # noqa: A002 - the name in the URL
    min_score: Annotated[float | None, Query(description="Leave out hits with a lower score, -1 to 1.")] = None,
    group_by: Annotated[
        str | None, Query(description="An attribute: of the hits with one value of it, only the best is a hit.")
    ] = None,
    collapse: Annotated[
        str | None, Query(description="`duplicates` or `exact`: one hit for all that show the same picture.")
    ] = None,
    facets: FacetsFromUrl = None,
    fields: Annotated[
        list[str] | None, Query(description="What to send of each hit beside its id; may be repeated; default: all.")
    ] = None,
    snapshot: SnapshotFromUrl = None,
) -> Asked:
    """Return what a GET request asks about a product."""
    limits = service.settings.limits
    if min_score is not None and not math.isfinite(min_score):
        raise ProblemError("bad_min_score", "`min_score` must be a number from -1 to 1.")
    return Asked(
        (ProductId(product_id),),
        make_ranking(k, offset, filter or [], limits, min_score=min_score, group_by=group_by, collapse=collapse),
        facets=make_facets(split(facets or []), limits),
        fields=parse_fields(split(fields or [])),
        snapshot=snapshot,
    )


ACCESS = ("unauthorized", "forbidden", "rate_limited", "access_unavailable")
"""Problems of every address that is not open to all."""

QueryFromUrl = Annotated[Asked, Depends(get_query)]


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of the problems that a route may answer with, those of access among them."""
    documented: dict[int | str, dict[str, Any]] = {}
    for code in dict.fromkeys((*codes, *ACCESS, "internal")):
        status = KINDS[code].status
        entry = documented.setdefault(status, _empty())
        names = [name for name in (entry["description"], f"`{code}`: {KINDS[code].title}") if name]
        entry["description"] = "; ".join(names)
        entry["content"][MEDIA_TYPE]["examples"][code] = {"value": _example(code)}
    return documented


def _empty() -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemReply.__name__}"}
    return {"description": "", "content": {MEDIA_TYPE: {"schema": schema, "examples": {}}}}


def _example(code: str) -> Mapping[str, Any]:
    kind = KINDS[code]
    return {
        "type": type_of(code),
        "title": kind.title,
        "status": kind.status,
        "detail": "A sentence that says what to do.",
        "code": code,
        "request_id": "5f0c6e0c5d8d4f0a9f0d6a2f1f3b7c11",
    }
