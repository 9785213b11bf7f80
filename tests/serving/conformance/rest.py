"""REST: what all others are compared with."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tests.serving.conformance.adapters import BatchOutcome, Outcome, Query
from tests.support.listening import Listening


class RestGateway:
    """Asks over HTTP, with JSON."""

    def __init__(self, server: Listening) -> None:
        self._http = httpx.Client(base_url=server.url, timeout=60)

    def search(self, query: Query, key: str | None) -> Outcome:
        found = self._post("/v1/search", to_json(query), key)
        return Outcome(found["code"]) if "code" in found else _read(found, found["snapshot"])

    def search_batch(self, queries: Sequence[Query], snapshot: str | None, key: str | None) -> BatchOutcome:
        body = {"queries": [to_json(query) for query in queries], "snapshot": snapshot}
        found = self._post("/v1/search/batch", body, key)
        if "code" in found:
            return BatchOutcome(found["code"])
        return BatchOutcome(None, found["snapshot"], [_read(result, None) for result in found["results"]])

    def list_products(self, listing: Query, key: str | None) -> Outcome:
        found = self._get("/v1/products", listing, key)
        if "code" in found:
            return Outcome(found["code"])
        return Outcome(None, found["snapshot"], found["products"], found.get("facets"), total=found["total"])

    def suggest(self, typed: Query, key: str | None) -> Outcome:
        found = self._get("/v1/suggest", typed, key)
        return Outcome(found["code"]) if "code" in found else Outcome(None, found["snapshot"], found["suggestions"])

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str, parameters: Query, key: str | None) -> dict[str, Any]:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        found: dict[str, Any] = self._http.get(path, params=dict(parameters), headers=headers).json()
        return found

    def _post(self, path: str, body: Mapping[str, Any], key: str | None) -> dict[str, Any]:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        found: dict[str, Any] = self._http.post(path, json=body, headers=headers).json()
        return found


def to_json(query: Query) -> dict[str, Any]:
    """Return a query as JSON has it: no bytes."""
    return {name: _to_json(name, value) for name, value in query.items()}


def _to_json(name: str, value: Any) -> Any:
    if name in {"positive", "negative"}:
        return [to_json(example) for example in value]
    if not isinstance(value, bytes):
        return value
    if name == "vector":
        return list(struct.unpack(f"<{len(value) // 4}f", value))
    return base64.b64encode(value).decode()


def _read(found: Mapping[str, Any], snapshot: str | None) -> Outcome:
    if "problem" in found:
        return Outcome(found["problem"]["code"])
    return Outcome(None, snapshot, found["hits"], found.get("facets"), found.get("understood"), found["total"])
