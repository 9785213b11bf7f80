"""The OpenAPI document: what FastAPI derives, and what only we know."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from lookalike.serving.access.policy import Policy
from lookalike.serving.rest.requests import operation_of
from lookalike.serving.rest.schema import BatchRequest, ProblemReply, SearchRequest

DESCRIPTION = """Find products that look like a picture.

Every error is `application/problem+json` with a stable `code`. Every reply carries `X-Request-ID`; send your own to
find it again in the server's log.

Where the server has API keys or an OIDC issuer, send one as `Authorization: Bearer …` or, a key, as `X-API-Key`."""

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a JWT where an issuer is set."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}

TAGS = [
    {"name": "search", "description": "By a picture, a product or a vector."},
    {"name": "products", "description": "What can be found."},
    {"name": "snapshots", "description": "What is being served."},
    {"name": "admin", "description": "Takes the scope `admin`."},
    {"name": "probes", "description": "For those who run the server."},
]


def install_openapi(app: FastAPI) -> None:
    """Let `/openapi.json` describe the search body and the problems too."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    _, own = models_json_schema(
        [(SearchRequest, "validation"), (BatchRequest, "validation"), (ProblemReply, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(own["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which no route answers with
        schemas.pop(name, None)
    document["components"]["securitySchemes"] = SCHEMES
    policy = Policy(required=True)
    for path, operations in document["paths"].items():
        needed = policy.needed_scope(operation_of(path))
        for operation in operations.values():
            _without_own_validation(operation)
            if needed is not None:  # `{}`: a server without keys asks for none
                operation["security"] = [{name: [needed]} for name in SCHEMES] + [{}]
    return document


def _without_own_validation(operation: dict[str, Any]) -> None:
    found = operation["responses"].get("422", {}).get("content", {}).get("application/json", {})
    if found.get("schema", {}).get("$ref", "").endswith("/HTTPValidationError"):
        del operation["responses"]["422"]["content"]["application/json"]
        if not operation["responses"]["422"]["content"]:
            del operation["responses"]["422"]
