"""What the routes share: the service, and how their problems are documented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from serving.models import DEFAULT_K, ProblemReply
from serving.problems import KINDS, MEDIA_TYPE
from serving.queries import make_ranking
from serving.service import Ranking, SearchService


def get_service(request: Request) -> SearchService:
    """Return the application's search service."""
    service: SearchService = request.app.state.service
    return service


Service = Annotated[SearchService, Depends(get_service)]

FilterFromUrl = Annotated[
    list[str] | None, Query(description="A condition such as `category=shoes`; may be repeated, all must hold.")
]


def get_ranking(
    service: Service,
    k: Annotated[int, Query(description="How many hits.")] = DEFAULT_K,
    offset: Annotated[int, Query(description="How many hits to skip.")] = 0,
    filter: FilterFromUrl = None,  # noqa: A002 - the name in the URL
) -> Ranking:
    """Return how the hits of a GET request are chosen."""
    return make_ranking(k, offset, filter or [], service.settings.limits)


ACCESS = ("unauthorized", "forbidden", "rate_limited", "access_unavailable")
"""Problems of every address that is not open to all."""

RankingFromUrl = Annotated[Ranking, Depends(get_ranking)]


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
        "type": f"urn:lookalike:problem:{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": "A sentence that says what to do.",
        "code": code,
        "request_id": "5f0c6e0c5d8d4f0a9f0d6a2f1f3b7c11",
    }
