"""What the routes share: the runtime, and how their problems are documented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request

from lookalike.serving.errors import ERROR_CODES
from lookalike.serving.rest.parse import COLLAPSES
from lookalike.serving.rest.problems import MEDIA_TYPE, type_of
from lookalike.serving.rest.schema import DEFAULT_K, ProblemReply
from lookalike.serving.runtime import Runtime


def give_runtime(app: FastAPI, runtime: Runtime) -> None:
    """Let all routes of an application find its runtime."""
    app.state.runtime = runtime


def runtime_of(request: Request) -> Runtime:
    """Return the runtime of the application that answers."""
    runtime = request.app.state.runtime
    assert isinstance(runtime, Runtime)  # noqa: S101 - `give_runtime` saw to it
    return runtime


_FILTER = "A condition such as `category=shoes`; may be repeated, all must hold."
_FACETS = "An attribute whose values are counted among the products that fit; may be repeated."
_SNAPSHOT = "Ask this snapshot, which an earlier reply named: so that pages fit together."

FilterFromUrl = Annotated[list[str] | None, Query(description=_FILTER)]
FacetsFromUrl = Annotated[list[str] | None, Query(description=_FACETS)]
SnapshotFromUrl = Annotated[str | None, Query(description=_SNAPSHOT)]


def _parameter(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _texts(name: str, description: str) -> dict[str, Any]:
    return _parameter(name, description, type="array", items={"type": "string"})


QUERY_PARAMETERS: list[dict[str, Any]] = [
    _parameter("k", "How many hits.", type="integer", default=DEFAULT_K),
    _parameter("offset", "How many hits to skip.", type="integer", default=0),
    _texts("filter", _FILTER),
    _parameter("min_score", "Leave out hits with a lower score, -1 to 1.", type="number"),
    _parameter("group_by", "An attribute: of the hits with one value of it, only the best is a hit.", type="string"),
    _parameter(
        "collapse", "One hit for all that show the same picture.", type="string", enum=sorted(COLLAPSES, reverse=True)
    ),
    _texts("facets", _FACETS),
    _texts("fields", "What to send of each hit beside its id; may be repeated; default: all."),
    _parameter("snapshot", _SNAPSHOT, type="string"),
]
"""What `lookalike.serving.rest.parse.make_query` reads of an address, for OpenAPI.

FastAPI takes longer over it than a search.
"""

ACCESS = ("unauthorized", "forbidden", "rate_limited", "access_unavailable")
"""Problems of every address that is not open to all."""
ALWAYS = ("head_too_large", "internal")
"""Problems of every address."""


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of the problems that a route may answer with, those of all routes among them."""
    documented: dict[int | str, dict[str, Any]] = {}
    for code in dict.fromkeys((*codes, *ACCESS, *ALWAYS)):
        status = ERROR_CODES[code].status
        entry = documented.setdefault(status, _empty())
        names = [name for name in (entry["description"], f"`{code}`: {ERROR_CODES[code].title}") if name]
        entry["description"] = "; ".join(names)
        entry["content"][MEDIA_TYPE]["examples"][code] = {"value": _example(code)}
    return documented


def _empty() -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemReply.__name__}"}
    return {"description": "", "content": {MEDIA_TYPE: {"schema": schema, "examples": {}}}}


def _example(code: str) -> Mapping[str, Any]:
    known = ERROR_CODES[code]
    return {
        "type": type_of(code),
        "title": known.title,
        "status": known.status,
        "detail": "A sentence that says what to do.",
        "code": code,
        "request_id": "5f0c6e0c5d8d4f0a9f0d6a2f1f3b7c11",
    }
