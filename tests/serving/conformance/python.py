"""The Python client: each query by a call of its own over HTTP, or as an item of `search_many` over a stream."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from lookalike_client import Client, Hit, ProblemError, Query, RetryPolicy, SearchResult
from lookalike_client import picture as picture_of
from lookalike_client import product as product_of
from lookalike_client import text as text_of
from lookalike_client import url as url_of
from lookalike_client import vector as vector_of
from tests.serving.conformance.adapters import BatchOutcome, CannotAskError, Outcome
from tests.serving.conformance.adapters import Query as Given
from tests.support.listening import Listening

SECONDS = 20.0
_OPTIONAL = {"title": "", "image_url": "", "attributes": {}}


class PythonClient:
    """Asks with `lookalike_client`. What that refuses before anything is sent cannot be asked."""

    def __init__(self, server: Listening, *, over_stream: bool) -> None:
        self._url = server.url
        self._over_stream = over_stream
        # `search_many` tries again what another try may help, until an item's time is over
        self._seconds = min(SECONDS, server.settings.limits.request_seconds)
        self._clients: dict[str | None, Client] = {}

    def search(self, query: Given, key: str | None) -> Outcome:
        [found] = self._ask([query], key)
        return found

    def search_batch(self, queries: Sequence[Given], snapshot: str | None, key: str | None) -> BatchOutcome:
        """Ask `search_many`, whose items have no fate in common: what refuses the whole of a batch cannot be asked."""
        if snapshot is not None or not queries:
            raise CannotAskError("items of `search_many` are no batch")
        found = self._ask(queries, key)
        snapshots = {one.snapshot for one in found if one.code is None}
        if len(snapshots) > 1:
            raise AssertionError(f"nothing was published, and answers come from {snapshots}")
        results = [replace(one, snapshot=None) for one in found]
        return BatchOutcome(None, snapshots.pop() if snapshots else None, results)

    def list_products(self, listing: Given, key: str | None) -> Outcome:
        try:
            found = self._client(key).products(**listing)
        except ProblemError as error:
            return Outcome(error.code)
        names = ("id", "title", "attributes", "image_url")
        products = [{name: getattr(product, name) for name in names} for product in found]
        facets = {name: _write_facet(facet) for name, facet in found.facets.items()}
        return Outcome(None, found.snapshot, products, facets or None, total=found.total)

    def suggest(self, typed: Given, key: str | None) -> Outcome:
        client, given = self._client(key), dict(typed)
        try:
            found = client.suggest(given.pop("text"), **given)
        except ProblemError as error:
            return Outcome(error.code)
        return Outcome(None, given.get("snapshot"), [asdict(one) for one in found])

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def _client(self, key: str | None) -> Client:
        if key not in self._clients:
            self._clients[key] = Client(self._url, api_key=key, timeout=60, retry=RetryPolicy(0))
        return self._clients[key]

    def _ask(self, queries: Sequence[Given], key: str | None) -> list[Outcome]:
        client = self._client(key)
        asked = [_to_query(query) for query in queries]
        if not self._over_stream:
            return [_read(query, partial(client.ask, one)) for query, one in zip(queries, asked, strict=True)]
        outcomes = client.search_many(asked, ordered=True, stream=True, timeout=self._seconds)
        return [_read(query, outcome.unwrap) for query, outcome in zip(queries, outcomes, strict=True)]


def _to_query(given: Given) -> Query:
    named = {"product_id": "product"}
    found: dict[str, Any] = {named.get(name, name): _to_argument(name, value) for name, value in given.items()}
    try:
        return Query(found.pop("image", None), **found)
    except TypeError as error:
        raise CannotAskError(str(error)) from None


def _to_argument(name: str, value: Any) -> Any:
    if name in {"positive", "negative"}:
        return [_to_example(one) for one in value]
    return array("f", value) if name == "vector" and isinstance(value, bytes) else value


def _to_example(given: Given) -> Any:
    """Return an example; one of several kinds cannot be said, and neither can one of none."""
    makers: Mapping[str, Callable[..., Any]] = {
        "image": picture_of, "product_id": product_of, "vector": vector_of, "url": url_of,
        "text": text_of,
    }  # fmt: skip
    kinds = [name for name in makers if name in given]
    if len(kinds) != 1:
        raise CannotAskError("an example is of one kind")
    more: dict[str, Any] = {"crop": tuple(given["crop"])} if "crop" in given else {}
    more |= {"weight": given["weight"]} if "weight" in given else {}
    return makers[kinds[0]](_to_argument(kinds[0], given[kinds[0]]), **more)


def _read(asked: Given, ask: Callable[[], SearchResult[Hit]]) -> Outcome:
    try:
        found = ask()
    except ProblemError as error:
        return Outcome(error.code)
    facets = {name: _write_facet(facet) for name, facet in found.facets.items()}
    hits = [_write_hit(hit, has_hidden="collapse" in asked) for hit in found.hits]
    understood = None if found.understood is None else asdict(found.understood)
    return Outcome(None, found.snapshot, hits, facets or None, _as_lists(understood), found.total)


def _as_lists(found: Any) -> Any:
    return json.loads(json.dumps(found))


def _write_hit(hit: Hit, *, has_hidden: bool) -> dict[str, Any]:
    """Return a hit as JSON has it: what a server left out is empty here."""
    found: dict[str, Any] = {"id": hit.id}
    found |= {name: getattr(hit, name) for name, empty in _OPTIONAL.items() if getattr(hit, name) != empty}
    found |= {} if math.isnan(hit.score) else {"score": hit.score}
    if hit.why is not None:
        why = asdict(hit.why)
        found["why"] = _as_lists({name: value for name, value in why.items() if value is not None})
    return {**found, "hidden": hit.hidden} if has_hidden else found


def _write_facet(facet: Any) -> dict[str, Any]:
    found = {"values": facet.values, "others": facet.others, "missing": facet.missing}
    return found if facet.low is None else {**found, "min": facet.low, "max": facet.high}
