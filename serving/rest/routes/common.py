"""What the routes share: the runtime, and how their problems are documented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request

from lookalike.serving.access.refusals import missing_scope
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.context import AccessScope, RequestContext
from lookalike.serving.query.options import TEXT_FIELDS
from lookalike.serving.replies import problem_type
from lookalike.serving.rest.problems import MEDIA_TYPE
from lookalike.serving.rest.schema import ProblemReply
from lookalike.serving.runtime import Runtime


def give_runtime(app: FastAPI, runtime: Runtime) -> None:
    """Let all routes of an application find its runtime."""
    app.state.runtime = runtime


def runtime_of(request: Request) -> Runtime:
    """Return the runtime of the application that answers."""
    runtime = request.app.state.runtime
    assert isinstance(runtime, Runtime)  # noqa: S101 - `give_runtime` saw to it
    return runtime


def check_operator(asked: RequestContext) -> None:
    """Raise `RefusedError` without the scope `admin`: admission saw to it, and may be wrong one day."""
    if AccessScope.ADMIN not in asked.caller.scopes:
        raise missing_scope(AccessScope.ADMIN, asked.caller.id)


def _describe_parameter(name: str) -> Any:
    return Query(description=TEXT_FIELDS[name].description)


FilterFromUrl = Annotated[list[str] | None, _describe_parameter("filter")]
FacetsFromUrl = Annotated[list[str] | None, _describe_parameter("facets")]
SnapshotFromUrl = Annotated[str | None, _describe_parameter("snapshot")]

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
        "type": problem_type(code),
        "title": known.title,
        "status": known.status,
        "detail": "A sentence that says what to do.",
        "code": code,
        "request_id": "5f0c6e0c5d8d4f0a9f0d6a2f1f3b7c11",
    }
