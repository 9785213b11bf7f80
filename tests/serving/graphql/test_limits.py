"""What is too large, too deep or not understood is refused before any part of it runs."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.serving.conftest import Serve
from tests.serving.graphql.conftest import ask, codes
from tests.support.client import Client
from tests.support.shop import Shop

SEARCH = 'search(query: {product_id: "a", k: 1}) { hits { id } }'


def nested(levels: int) -> str:
    inside = "hits { similar(options: {k: 1}) { " * levels + "snapshot" + " } }" * levels
    return '{ similar(id: "a", options: {k: 1}) { ' + inside + " } }"


DOUBLED = (
    "{ ...f0 } "
    + " ".join(
        f"fragment f{n} on Query {{ a{n}: search(query: {{}}) {{ snapshot }} ...f{n + 1} ...f{n + 1} }}"
        for n in range(30)
    )
    + " fragment f30 on Query { __typename }"
)

TOO_LARGE = {
    "aliases by the thousand": "{ " + " ".join(f"a{number}: {SEARCH}" for number in range(1000)) + " }",
    "aliases": "{ " + " ".join(f"a{number}: __typename" for number in range(65)) + " }",
    "deep nesting": nested(12),
    "costly nesting": '{ similar(id: "a", options: {k: 100}) { hits { similar { hits { id } } } } }',
    "many results": "{ "
    + 'a: similar(id: "a", options: {k: 600}) { snapshot } ' * 1
    + ('b: similar(id: "a", options: {k: 600}) { snapshot } }'),
    "many suggestions": "{ "
    + " ".join(f'a{number}: suggest(text: "pro", limit: 20) {{ text }}' for number in range(51))
    + " }",
    "fragments that double": DOUBLED,
    "a huge token": '{ search(query: {image: "' + "A" * 100_000 + '"}) { snapshot } }',
    "nested lists": "{ search(query: {filter: " + "[" * 900 + "]" * 900 + "}) { snapshot } }",
    "directives": "{ __typename " + "@include(if: true) " * 65 + "}",
    "unused operations": "query a { __typename } " + "".join(f"query b{n} {{ __typename }} " for n in range(100)),
}


@pytest.mark.parametrize("document", TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_asks_for_too_much_is_refused_at_once(
    client: Client, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.runtime.service, "search_all", None)
    began = time.process_time()
    reply = client.post("/graphql", json={"query": document, "operationName": "a" if "query a" in document else None})
    assert (reply.status_code, codes(reply.json())) == (422, ["operation_too_large"])
    assert time.process_time() - began < 1.0


INVALID = {
    "a cycle of fragments": ("{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }", "invalid_operation"),
    "no fragment": ("{ ...a }", "invalid_operation"),
    "unknown fields": ("{ nothing }", "unknown_field"),
    "an unknown argument": ("{ snapshot(at: 3) { id } }", "unknown_field"),
    "an unknown field of an input": ("{ search(query: {colour: 3}) { snapshot } }", "unknown_field"),
    "no selection": ("{ snapshot }", "invalid_operation"),
    "a wrong type": ('{ search(query: {k: "ten"}) { snapshot } }', "invalid_operation"),
    "a variable that is not sent": ("query ($q: SearchInput!) { search(query: $q) { snapshot } }", "bad_field"),
    "a mutation": ("mutation { reload }", "invalid_operation"),
    "a subscription": ("subscription { snapshotChanged { id } }", "invalid_operation"),
    "several operations": ("query a { __typename } query b { __typename }", "invalid_operation"),
    "several snapshots": (
        """{ a: search(query: {product_id: "a", snapshot: "x"}) { snapshot }
             b: search(query: {product_id: "a", snapshot: "y"}) { snapshot } }""",
        "bad_field",
    ),
    "a snapshot that is not held": (
        '{ search(query: {product_id: "a", snapshot: "x"}) { snapshot } }',
        "snapshot_not_held",
    ),
    "no braces": ("search", "malformed_graphql"),
    "nothing": ("", "malformed_graphql"),
    "half of it": ("{ snapshot {", "malformed_graphql"),
}


@pytest.mark.parametrize(("document", "code"), INVALID.values(), ids=INVALID)
def test_what_is_wrong_has_a_code(client: Client, document: str, code: str) -> None:
    reply = client.post("/graphql", json={"query": document})
    assert codes(reply.json()) == [code], reply.text
    assert reply.status_code in {400, 409, 422}
    assert "data" not in reply.json()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([{"query": "{ __typename }"}], "bad_request"),
        ({}, "bad_field"),
        ({"query": 7}, "bad_field"),
        ({"query": "{ __typename }", "variables": []}, "bad_field"),
        ({"query": "{ __typename }", "colour": 3}, "unknown_field"),
        ("text", "bad_field"),
    ],
)
def test_what_is_no_request_has_a_code(client: Client, body: Any, code: str) -> None:
    assert codes(client.post("/graphql", json=body).json()) == [code]


def test_other_bodies_and_methods(client: Client) -> None:
    def refused(reply: httpx.Response) -> tuple[int, list[str]]:
        return reply.status_code, codes(reply.json())

    assert refused(client.post("/graphql", content=b"{", headers={"content-type": "application/json"})) == (
        400,
        ["malformed_json"],
    )
    assert refused(client.post("/graphql", content=b"{ __typename }", headers={"content-type": "text/plain"}))[0] == 415
    assert refused(client.post("/graphql", files={"operations": (None, "{}")}))[0] == 415
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    assert refused(client.post("/graphql", content=b"x", headers=packed))[0] == 415
    for method in ("GET", "PUT", "DELETE"):
        asked = client.request(method, "/graphql", params={"query": "{ __typename }"})
        assert (asked.status_code, asked.json()["code"]) == (405, "method_not_allowed")


def test_the_schema_is_told_unless_a_setting_says_no(client: Client, shop: Shop, serve: Serve) -> None:
    document = "{ __schema { queryType { fields { name } } } }"
    named = {field["name"] for field in ask(client, document)["data"]["__schema"]["queryType"]["fields"]}
    assert {"search", "similar", "product", "products", "facets", "snapshot", "snapshots"} <= named
    shop.publish(8)
    silent = serve(graphql={"introspection": False})
    assert codes(ask(silent, document)) == ["invalid_operation"]
    assert ask(silent, "{ __typename }")["data"] == {"__typename": "Query"}
    assert "search" not in str(ask(silent, "{ serch { snapshot } }")["errors"])


def test_deep_introspection_is_refused(client: Client) -> None:
    document = "{ __schema { types { " + "fields { type { " * 9 + "name" + " } }" * 9 + " } } }"
    assert codes(ask(client, document))[0] in {"operation_too_large", "invalid_operation"}


def test_more_pictures_than_a_batch_may_have(client: Client) -> None:
    document = (
        "query ($q: SearchInput!) { " + " ".join(f"s{n}: search(query: $q) {{ snapshot }}" for n in range(5)) + " }"
    )
    query = {"positive": [{"image": "AAAA"}] * 13}
    assert codes(ask(client, document, q=query)) == ["too_many_pictures"]


def test_a_bug_is_told_by_its_code_alone(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug that names /etc/secret")

    monkeypatch.setattr(client.loaded.searcher.products, "row", fail)
    reply = ask(client, '{ product(id: "a") { id } snapshots { id } }')
    assert codes(reply) == ["internal"]
    assert reply["data"]["snapshots"]
    assert "secret" not in str(reply)
    assert "secret" in caplog.text


def test_operations_are_measured_by_their_kind(client: Client) -> None:
    ask(client, "query mine { __typename }")
    text = client.get("/metrics").text
    assert 'gateway="graphql",method="POST",route="query",status="200"' in text
    assert "mine" not in text
