from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.query.embed_request import EmbedRequest
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.query.request import BatchRequest, SearchRequest
from lookalike.serving.rest.body import FIELDS
from lookalike.serving.rest.schema import (
    BatchReply,
    OneProductReply,
    ProductsReply,
    SearchReply,
    SnapshotReply,
    SuggestReply,
)
from tests.support.client import Client

DOCS = Path(__file__).parents[3] / "docs"
API_PAGE, PROBLEMS_PAGE = DOCS / "api.md", DOCS / "problems.md"

OPERATIONS = {
    "search": "POST /v1/search",
    "searchText": "GET /v1/search",
    "suggest": "GET /v1/suggest",
    "searchBatch": "POST /v1/search/batch",
    "embed": "POST /v1/embed",
    "listProducts": "GET /v1/products",
    "getProduct": "GET /v1/products/{product_id}",
    "similarProducts": "GET /v1/products/{product_id}/similar",
    "productImage": "GET /v1/products/{product_id}/image",
    "listSnapshots": "GET /v1/snapshots",
    "currentSnapshot": "GET /v1/snapshots/current",
    "reload": "POST /v1/admin/reload",
    "listChannels": "GET /v1/admin/channels",
    "channelHistory": "GET /v1/admin/channels/{channel}",
    "listStoredSnapshots": "GET /v1/admin/snapshots",
    "listRuns": "GET /v1/admin/runs",
    "promote": "POST /v1/admin/channels/{channel}/promote",
    "rollBack": "POST /v1/admin/channels/{channel}/rollback",
    "openSnapshot": "POST /v1/admin/open",
    "listRejects": "GET /v1/admin/rejects",
    "contactSheet": "GET /v1/admin/runs/{run}/contact-sheet",
    "examineCatalogue": "GET /v1/admin/catalogue",
    "examinePictures": "GET /v1/admin/catalogue/pictures",
    "pin": "PUT /v1/admin/pins/{snapshot}",
    "unpin": "DELETE /v1/admin/pins/{snapshot}",
    "live": "GET /livez",
    "ready": "GET /readyz",
    "metrics": "GET /metrics",
    "metricsSummary": "GET /metrics/summary",
}


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_operation_ids_are_stable(document: dict[str, Any]) -> None:
    assert {operation["operationId"]: name for name, operation in operations(document).items()} == OPERATIONS


QUERY = {"product_id": "a", "k": 3, "facets": ["category", "price"]}
REPLIES: list[tuple[str, dict[str, Any] | None, type[BaseModel]]] = [
    ("/v1/search", {**QUERY, "collapse": "exact", "fields": ["title", "attributes"]}, SearchReply),
    ("/v1/search", {"text": "produkt 1", "explain": True}, SearchReply),
    ("/v1/search?text=product&explain=true", None, SearchReply),
    ("/v1/suggest?text=pro", None, SuggestReply),
    ("/v1/search/batch", {"queries": [QUERY, {"product_id": "none such"}, {}]}, BatchReply),
    ("/v1/products/a/similar?k=4", None, SearchReply),
    ("/v1/products?limit=8&facets=stock", None, ProductsReply),
    ("/v1/products/a", None, OneProductReply),
    ("/v1/snapshots/current", None, SnapshotReply),
]


@pytest.mark.parametrize(("path", "body", "model"), REPLIES)
def test_replies_are_what_their_models_describe(
    client: Client, path: str, body: dict[str, Any] | None, model: type[BaseModel]
) -> None:
    """They are written past the models: nothing is missing, and nothing there that no model has."""
    found = client.get(path) if body is None else client.post(path, json=body)
    assert found.status_code == 200
    read = model.model_validate_json(found.content)
    assert read.model_dump(mode="json", exclude_unset=True) == found.json()


def test_all_references_lead_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_problems_are_documented_with_examples(document: dict[str, Any]) -> None:
    search = operations(document)["POST /v1/search"]
    for status in ("400", "404", "413", "415", "422", "429", "500", "503", "504"):
        examples = search["responses"][status]["content"]["application/problem+json"]["examples"]
        assert all(ERROR_CODES[code].status == int(status) for code in examples)


def test_what_takes_a_key_is_said_with_its_refusals(document: dict[str, Any]) -> None:
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    found = operations(document)
    protected = {name for name, operation in found.items() if "security" in operation}
    assert found.keys() - protected == {"GET /livez", "GET /readyz"}
    for name in protected:
        assert {"401", "403", "429", "503"} <= set(found[name]["responses"]), name
    assert found["POST /v1/admin/reload"]["security"] == [{"bearer": ["admin"]}, {"apiKey": ["admin"]}, {}]
    assert found["POST /v1/search"]["security"] == [{"bearer": ["search"]}, {"apiKey": ["search"]}, {}]


def test_both_bodies_of_search_are_described(document: dict[str, Any]) -> None:
    content = operations(document)["POST /v1/search"]["requestBody"]["content"]
    assert content["multipart/form-data"]["schema"]["properties"]["image"]["items"]["format"] == "binary"
    assert set(content["multipart/form-data"]["schema"]["properties"]) == set(FIELDS)
    examples = content["application/json"]["examples"]
    assert set(examples) == {"product", "image", "url", "text", "image and text", "vector", "examples"}
    assert {"SearchRequest", "ExampleRequest", "BatchRequest"} <= set(document["components"]["schemas"])
    for example in examples.values():
        SearchRequest.model_validate(example["value"])


def test_each_option_is_a_field_of_the_form_and_a_parameter_of_an_address(document: dict[str, Any]) -> None:
    found = operations(document)
    form = found["POST /v1/search"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    parameters = found["GET /v1/products/{product_id}/similar"]["parameters"]
    named = {one["name"]: one for one in parameters if one["in"] == "query"}
    assert set(named) - {"id", "text"} == set(QueryOptions.model_fields) == set(form) - {"image", "crop", "text"}
    text = found["GET /v1/search"]["parameters"][0]
    assert {**text["schema"], "description": text["description"]} == form["text"]
    for name, declared in QueryOptions.model_fields.items():
        described = {**named[name]["schema"], "description": named[name]["description"]}
        assert described == form[name]
        assert described["description"] == declared.description
    assert form["k"]["type"] == "integer"
    assert form["k"]["default"] == 10
    assert form["min_score"]["type"] == "number"
    assert form["collapse"]["enum"] == ["duplicates", "exact"]
    assert form["facets"]["items"] == {"type": "string"}


def test_every_route_has_its_place_in_the_docs() -> None:
    text = API_PAGE.read_text()
    for operation in OPERATIONS.values():
        method, path = operation.split(" ")
        assert f"`{method} {path.replace('product_id', 'id')}`" in text, operation


def test_every_field_of_a_query_has_its_place_in_the_docs() -> None:
    text = API_PAGE.read_text()
    for name in {*SearchRequest.model_fields, *BatchRequest.model_fields, *EmbedRequest.model_fields, *FIELDS}:
        assert f"`{name}`" in text, name


def test_every_code_has_its_section_in_the_docs() -> None:
    sections = re.findall(r"^## (\w+)\n\n(\d{3}) · (.*)$", PROBLEMS_PAGE.read_text(), re.MULTILINE)
    assert sections == [
        (code, str(known.status), f"{known.title}. {known.help}") for code, known in ERROR_CODES.items()
    ]


def test_a_problem_leads_to_its_section(client: Client) -> None:
    problem = client.search(k=0).json()
    page, _, anchor = problem["type"].partition("#")
    shown = client.get(page)
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert f'<section id="{anchor}">' in shown.text
    assert re.findall(r'<section id="(\w+)">', shown.text) == list(ERROR_CODES)
    assert "script-src" not in shown.headers["content-security-policy"]
