"""The OpenAPI document: what FastAPI derives, and what only we know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lookalike.serving.access.admission import Policy
from lookalike.serving.query.embed_request import EmbedOptions, EmbedRequest, PictureRequest
from lookalike.serving.query.options import TEXT_FIELDS, TextField
from lookalike.serving.query.request import BatchRequest, SearchRequest
from lookalike.serving.rest.requests import operation_of
from lookalike.serving.rest.schema import LineReply, ProblemReply

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


_MODELS: tuple[tuple[type[BaseModel], Literal["validation", "serialization"]], ...] = (
    (SearchRequest, "validation"),
    (BatchRequest, "validation"),
    (EmbedRequest, "validation"),
    (PictureRequest, "validation"),
    (ProblemReply, "serialization"),
    (LineReply, "serialization"),
)
"""What no route declares to FastAPI: it is read, or written, past it."""


def describe_form() -> dict[str, Any]:
    """Return the JSON schema of a search as a form: pictures as files, and every option as text."""
    options = {name: {**_schema(field), "description": field.description} for name, field in TEXT_FIELDS.items()}
    text = {"text": {"type": "string", "description": SearchRequest.model_fields["text"].description}}
    described = _describe_form("A picture, as a file; repeat the field for several of one thing.", 16, text | options)
    return {name: value for name, value in described.items() if name != "required"} | {"minProperties": 1}


def describe_embed_form() -> dict[str, Any]:
    """Return the JSON schema of a form of pictures whose vectors are wanted."""
    options = EmbedOptions.model_json_schema()["properties"]
    return _describe_form("A picture, as a file; repeat the field for several.", 64, options)


def _describe_form(image: str, most: int, options: Mapping[str, Any]) -> dict[str, Any]:
    crop = SearchRequest.model_fields["crop"].description
    return {
        "type": "object",
        "required": ["image"],
        "additionalProperties": False,
        "properties": {
            "image": {
                "type": "array",
                "items": {"type": "string", "format": "binary"},
                "minItems": 1,
                "maxItems": most,
                "description": image,
            },
            "crop": {
                "type": "array",
                "items": {"type": "string"},
                "description": f"{crop} Written `left,top,right,bottom`; repeat the field, once for each picture.",
            },
            **options,
        },
    }


def describe_text(*, required: bool = False) -> dict[str, Any]:
    """Return OpenAPI's description of `text` as a parameter of an address."""
    text = SearchRequest.model_fields["text"].description
    return {"name": "text", "in": "query", "required": required, "description": text, "schema": {"type": "string"}}


def describe_parameters() -> list[dict[str, Any]]:
    """Return OpenAPI's description of every option as a parameter of an address.

    FastAPI's own reading of so many takes longer than a search: routes read them with `read_options`.
    """
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": field.description,
            "schema": _schema(field),
        }
        for name, field in TEXT_FIELDS.items()
    ]


def describe_query() -> str:
    """Return the table of all fields of a query, as Markdown, for `docs/api.md`."""
    rows = ["| field | default | in | |", "|---|---|---|---|"]
    for name, declared in SearchRequest.model_fields.items():
        default = declared.get_default(call_default_factory=True)
        shown = "none" if default is None or default == [] else f"`{json.dumps(default)}`"
        places = ["JSON"]
        places += ["form"] if name in {"image", "crop", "text", *TEXT_FIELDS} else []
        places += ["address"] if name in {"text", *TEXT_FIELDS} else []
        rows.append(f"| `{name}` | {shown} | {', '.join(places)} | {declared.description} |")
    return "\n".join(rows)


def _schema(field: TextField) -> dict[str, Any]:
    one: dict[str, Any] = {"type": field.type}
    if field.choices:
        one["enum"] = list(field.choices)
    if field.is_list:
        return {"type": "array", "items": one}
    return one if field.default is None else {**one, "default": field.default}


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
    _, own = models_json_schema(_MODELS, ref_template="#/components/schemas/{model}")
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
