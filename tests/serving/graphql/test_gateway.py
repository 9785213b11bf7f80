"""Operations: the answers of REST, from one snapshot, with the codes of all gateways."""

from __future__ import annotations

import base64
from dataclasses import fields
from typing import Any

import pytest

from lookalike.serving.graphql.inputs import ExampleInput, OptionsInput, SearchInput
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.query.request import ExampleRequest, SearchRequest
from tests.serving.conftest import Serve
from tests.serving.graphql.conftest import ask, codes
from tests.support.client import Client
from tests.support.shop import Shop, picture

IMAGE = base64.b64encode(picture(1)).decode()
SEARCH = """
query ($query: SearchInput!) {
  search(query: $query) {
    snapshot
    hits { id title attributes image_url score hidden }
    facets { name values { value count } others missing min max }
  }
}
"""


@pytest.mark.parametrize(
    ("model", "request_model"),
    [(ExampleInput, ExampleRequest), (OptionsInput, QueryOptions), (SearchInput, SearchRequest)],
)
def test_inputs_have_the_fields_of_all_gateways(model: Any, request_model: Any) -> None:
    assert {one.name for one in fields(model)} == set(request_model.model_fields)


QUERIES: list[dict[str, Any]] = [
    {"product_id": "a", "k": 5},
    {"image": IMAGE, "crop": [0.1, 0.0, 0.6, 0.9], "filter": ["category=shoes", {"attribute": "stock", "value": 3}]},
    {"image": IMAGE, "filter": "category=shoes", "facets": ["category", "price"], "min_score": 0.1},
    {"vector": [1.0] * 192, "k": 3, "offset": 2, "collapse": "exact"},
    {
        "positive": [{"image": IMAGE}, {"product_id": "a"}],
        "negative": [{"product_id": "a/image"}],
        "negative_weight": 0.3,
        "group_by": "category",
        "fields": ["title", "attributes.price"],
    },
]


@pytest.mark.parametrize("query", QUERIES)
def test_hits_are_those_of_rest(client: Client, query: dict[str, Any]) -> None:
    reply = ask(client, SEARCH, query=query)
    assert "errors" not in reply
    expected, found = client.search(**query).json(), reply["data"]["search"]
    assert found["snapshot"] == expected["snapshot"] == reply["extensions"]["snapshot"]
    assert found["hits"]
    kept = [{name: value for name, value in hit.items() if value is not None} for hit in found["hits"]]
    assert kept == expected["hits"]
    facets = {facet["name"]: {value["value"]: value["count"] for value in facet["values"]} for facet in found["facets"]}
    assert facets == {name: facet["values"] for name, facet in expected.get("facets", {}).items()}


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"k": 3},
        {"product_id": "none such"},
        {"product_id": "a", "k": 0},
        {"product_id": "a", "k": 100_000},
        {"product_id": "a", "offset": -1},
        {"product_id": "a", "min_score": 3},
        {"product_id": "a", "collapse": "all"},
        {"product_id": "a", "filter": ["category"]},
        {"product_id": "a", "filter": [7]},
        {"product_id": "a", "filter": ["colour=red"]},
        {"product_id": "a", "facets": ["colour"]},
        {"product_id": "a", "fields": ["picture"]},
        {"product_id": "a", "image": IMAGE},
        {"product_id": "a", "crop": [0, 0, 1, 1]},
        {"image": "no base64!"},
        {"image": base64.b64encode(b"text").decode()},
        {"image": IMAGE, "crop": [1, 1, 0, 0]},
        {"url": "https://a.example/x.png"},
        {"vector": [1.0]},
        {"vector": [0.0] * 192},
        {"vector": "text"},
        {"positive": [{"product_id": "a"}] * 17},
        {"product_id": "a", "k": "ten"},
        {"product_id": "a", "colour": "red"},
        {"product_id": "a", "snapshot": "none"},
        {"product_id": 7},
    ],
)
def test_problems_are_those_of_rest(client: Client, query: dict[str, Any]) -> None:
    expected = client.search(**query)
    assert expected.status_code >= 400
    assert codes(ask(client, SEARCH, query=query)) == [expected.json()["code"]]


def test_several_questions_in_one_round_trip(served: tuple[Shop, Client]) -> None:
    shop, client = served
    reply = ask(
        client,
        """{
          search(query: {product_id: "a", k: 2}) { hits { id similar(options: {k: 3}) { hits { id } } } }
          other: search(query: {product_id: "a/image", filter: ["category=hats"]}) { hits { id } }
          similar(id: "a", options: {k: 2}) { hits { id score } }
          product(id: "a") { id title attributes image_url similar { hits { id } } }
          products(limit: 3, filter: ["category=shoes"]) { total products { id attributes } }
          products_by_id(ids: ["a", "none such"]) { title }
          facets(names: ["category"]) { name values { value count } missing }
          snapshot { id created_at products attribution encoder { name fingerprint dimension } index quality
                     channel attributes { name type values } }
          snapshots { id state since queries products }
        }""",
    )
    assert "errors" not in reply
    data = reply["data"]
    assert [hit["id"] for hit in data["search"]["hits"]] == [hit["id"] for hit in data["similar"]["hits"]]
    for hit in data["search"]["hits"]:
        expected = client.search(product_id=hit["id"], k=3, fields=["score"]).json()["hits"]
        assert hit["similar"]["hits"] == [{"id": one["id"]} for one in expected]
    one = client.get("/v1/products/a").json()
    assert {name: data["product"][name] for name in ("id", "title", "attributes", "image_url")} == {
        name: one[name] for name in ("id", "title", "attributes", "image_url")
    }
    listed = client.get("/v1/products", params={"limit": 3, "filter": "category=shoes"}).json()
    assert data["products"]["total"] == listed["total"]
    assert [p["id"] for p in data["products"]["products"]] == [p["id"] for p in listed["products"]]
    assert data["products_by_id"] == [{"title": one["title"]}, None]
    assert data["snapshot"]["id"] == data["snapshots"][0]["id"] == shop.channel.current().snapshot
    assert data["snapshot"]["encoder"] == client.get("/v1/snapshots/current").json()["encoder"]


def test_what_fails_costs_the_others_nothing(client: Client) -> None:
    reply = ask(
        client,
        """{
          good: search(query: {product_id: "a", k: 1}) { hits { id } }
          bad: search(query: {product_id: "none such"}) { hits { id } }
        }""",
    )
    assert reply["data"]["good"]["hits"]
    assert reply["data"]["bad"] is None
    assert [(error["path"], error["extensions"]["code"]) for error in reply["errors"]] == [(["bad"], "unknown_product")]


def test_all_that_is_searched_at_a_time_is_one_batch(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    service, sizes = client.runtime.service, []
    search_all = service.search_all

    async def count(queries: Any, snapshot: Any, *, deadline: float) -> Any:
        sizes.append(len(queries))
        return await search_all(queries, snapshot, deadline=deadline)

    monkeypatch.setattr(service, "search_all", count)
    ask(
        client,
        """{
          one: search(query: {product_id: "a", k: 5}) { hits { id similar { hits { id } } } }
          two: search(query: {product_id: "a", k: 3}) { hits { id similar { hits { id } } } }
        }""",
    )
    assert sizes == [2, 8]


def test_an_operation_counts_by_its_searches_before_any_of_them_runs(
    shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish(8)
    client = serve(rates={"per_address": 1, "burst": 12})
    monkeypatch.setattr(client.runtime.service, "search_all", None)
    refused = client.post(
        "/graphql",
        json={
            "query": '{ ...all } fragment all on Query { a: search(query: {product_id: "a", k: 6}) '
            '{ hits { similar(options: {k: 1}) { hits { id } } } } b: search(query: {product_id: "a"}) { snapshot } }'
        },
    )  # 1 + 6 + 1 = 8 of 12 fit, and again 8 do not
    assert codes(refused.json()) == ["internal"] * 2
    refused = client.post(
        "/graphql",
        json={"query": "{ " + " ".join(f"s{n}: search(query: {{}}) {{ snapshot }}" for n in range(9)) + " }"},
    )
    assert (refused.status_code, codes(refused.json())) == (429, ["rate_limited"])
    assert refused.json()["errors"][0]["extensions"]["retry_after"] > 0
    assert int(refused.headers["retry-after"]) >= 1
