from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from serving.problems import KINDS
from tests.serving.client import Client

API_PAGE = Path(__file__).parent.parent.parent / "docs" / "api.md"

OPERATIONS = {
    "search": "POST /v1/search",
    "listProducts": "GET /v1/products",
    "getProduct": "GET /v1/products/{product_id}",
    "similarProducts": "GET /v1/products/{product_id}/similar",
    "productImage": "GET /v1/products/{product_id}/image",
    "listSnapshots": "GET /v1/snapshots",
    "currentSnapshot": "GET /v1/snapshots/current",
    "reload": "POST /v1/admin/reload",
    "live": "GET /livez",
    "ready": "GET /readyz",
    "metrics": "GET /metrics",
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


def test_all_references_lead_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_problems_are_documented_with_examples(document: dict[str, Any]) -> None:
    search = operations(document)["POST /v1/search"]
    for status in ("400", "404", "413", "415", "422", "429", "500", "503", "504"):
        examples = search["responses"][status]["content"]["application/problem+json"]["examples"]
        assert all(KINDS[code].status == int(status) for code in examples)


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
    assert content["multipart/form-data"]["schema"]["properties"]["image"]["format"] == "binary"
    assert set(content["application/json"]["examples"]) == {"product", "image", "vector"}
    assert "SearchRequest" in document["components"]["schemas"]


def test_docs_are_served(client: Client) -> None:
    assert client.get("/docs").status_code == 200


def test_every_route_and_code_has_its_place_in_the_docs() -> None:
    text = API_PAGE.read_text()
    for operation in OPERATIONS.values():
        method, path = operation.split(" ")
        assert f"`{method} {path.replace('product_id', 'id')}`" in text, operation
    for code, kind in KINDS.items():
        assert re.search(rf"^\| `{code}` \| {kind.status} \|", text, re.MULTILINE), code
    listed = re.findall(r"^\| `(\w+)` \| \d{3} \|", text, re.MULTILINE)
    assert listed == list(KINDS)
