"""GraphQL: each query is a `search`, and those of a batch are fields of one operation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from tests.serving.conformance.adapters import BatchOutcome, CannotAskError, Outcome, Query
from tests.serving.conformance.rest import to_json
from tests.support.listening import Listening

_FOUND = """{
  snapshot
  total
  hits { id title attributes image_url score hidden why { scores words { word found how } example } }
  understood { words { word found how } unknown looks_like { id title weight } colours }
  facets { name values { value count } others missing min max }
}"""
_LISTED = "{ total products { id title attributes image_url } }"
_COUNTS = "{ name values { value count } others missing min max }"
_COUNTED = ("filter", "find", "facets_of")


class GraphqlGateway:
    """Asks over HTTP, with operations."""

    def __init__(self, server: Listening) -> None:
        self._http = httpx.Client(base_url=server.url, timeout=60)
        self._max_queries = server.settings.limits.max_queries

    def search(self, query: Query, key: str | None) -> Outcome:
        found = self._ask([query], key)
        if found.code is not None:
            return Outcome(found.code)
        result = found.results[0]
        return replace(result, snapshot=None if result.code else found.snapshot)

    def search_batch(self, queries: Sequence[Query], snapshot: str | None, key: str | None) -> BatchOutcome:
        if not queries or any("snapshot" in query for query in queries):
            raise CannotAskError("an operation has at least one field, and all its searches name one snapshot")
        if len(queries) > self._max_queries:
            raise CannotAskError("an operation is bounded by what it costs, not by how many searches it has")
        return self._ask([{**query, **({} if snapshot is None else {"snapshot": snapshot})} for query in queries], key)

    def list_products(self, listing: Query, key: str | None) -> Outcome:
        products = {name: value for name, value in listing.items() if name not in {"facets", "facets_of"}}
        asked = [f"products{_write_arguments(products)} {_LISTED}"]
        if "facets" in listing:
            facets = {"names": listing["facets"], **{name: listing[name] for name in _COUNTED if name in listing}}
            asked.append(f"facets{_write_arguments(facets)} {_COUNTS}")
        reply = self._ask_fields(asked, key)
        if isinstance(reply, str):
            return Outcome(reply)
        found = reply["data"]["products"]
        counted = {facet.pop("name"): _read_facet(facet) for facet in reply["data"].get("facets", ())}
        return Outcome(None, reply["extensions"]["snapshot"], found["products"], counted or None, total=found["total"])

    def suggest(self, typed: Query, key: str | None) -> Outcome:
        own = {name: value for name, value in typed.items() if name != "snapshot"}
        asked = [f"suggest{_write_arguments(own)} {{ text word products }}"]
        if "snapshot" in typed:  # it belongs to the whole of an operation, and a search names it
            asked.append(f'similar(id: "a", options: {{snapshot: {json.dumps(typed["snapshot"])}}}) {{ snapshot }}')
        reply = self._ask_fields(asked, key)
        if isinstance(reply, str):
            return Outcome(reply)
        return Outcome(None, reply["extensions"]["snapshot"], reply["data"]["suggest"])

    def close(self) -> None:
        self._http.close()

    def _ask_fields(self, fields: Sequence[str], key: str | None) -> dict[str, Any] | str:
        """Return the reply to an operation, or the code of its first error."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        reply: dict[str, Any] = self._http.post(
            "/graphql", json={"query": f"{{ {' '.join(fields)} }}"}, headers=headers
        ).json()
        if "code" in reply:  # refused before it was read
            return str(reply["code"])
        return str(reply["errors"][0]["extensions"]["code"]) if reply.get("errors") else reply

    def _ask(self, queries: Sequence[Query], key: str | None) -> BatchOutcome:
        variables = {f"q{number}": to_json(query) for number, query in enumerate(queries)}
        declared = ", ".join(f"${name}: SearchInput!" for name in variables)
        fields = " ".join(f"{name}: search(query: ${name}) {_FOUND}" for name in variables)
        body = {"query": f"query ({declared}) {{ {fields} }}", "variables": variables}
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        reply = self._http.post("/graphql", json=body, headers=headers).json()
        if "data" not in reply:
            return BatchOutcome(reply["code"] if "code" in reply else reply["errors"][0]["extensions"]["code"])
        codes = {error["path"][0]: error["extensions"]["code"] for error in reply.get("errors", ())}
        results = [
            Outcome(codes[name]) if name in codes else _read(reply["data"][name], query)
            for name, query in zip(variables, queries, strict=True)
        ]
        return BatchOutcome(None, reply["extensions"]["snapshot"], results)


def _write_arguments(given: Mapping[str, Any]) -> str:
    written = ", ".join(f"{name}: {json.dumps(value)}" for name, value in given.items())
    return f"({written})" if written else ""


def _read(found: Mapping[str, Any], query: Query) -> Outcome:
    """Return hits and facets as REST has them: what is not there is null here."""
    hits = [_read_hit(hit, query) for hit in found["hits"]]
    facets = {facet.pop("name"): _read_facet(facet) for facet in found["facets"]}
    return Outcome(None, None, hits, facets or None, found["understood"], found["total"])


def _read_hit(hit: Mapping[str, Any], query: Query) -> dict[str, Any]:
    kept = {"hidden"} if "collapse" in query else set[str]()
    found = {name: value for name, value in hit.items() if value is not None or name in kept}
    if hit["why"] is not None and hit["why"]["example"] is None:
        del found["why"]["example"]
    return found


def _read_facet(facet: Mapping[str, Any]) -> dict[str, Any]:
    values = {one["value"]: one["count"] for one in facet["values"]}
    return {name: value for name, value in {**facet, "values": values}.items() if value is not None}
