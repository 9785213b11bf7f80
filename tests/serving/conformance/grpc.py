"""gRPC, by a client with the generated code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.pb import lookalike_pb2_grpc as services
from tests.serving.conformance.adapters import BatchOutcome, Outcome, Query
from tests.support.listening import Listening


class GrpcGateway:
    """Asks over gRPC."""

    def __init__(self, server: Listening) -> None:
        self._channel = grpc.insecure_channel(server.target, options=[("grpc.max_receive_message_length", -1)])
        self._stub = services.LookalikeServiceStub(self._channel)

    def search(self, query: Query, key: str | None) -> Outcome:
        try:
            found = self._stub.Search(to_message(query), metadata=_metadata(key), timeout=60)
        except grpc.RpcError as error:
            return Outcome(code_of(error))
        return read_answer(found, found.snapshot)

    def search_batch(self, queries: Sequence[Query], snapshot: str | None, key: str | None) -> BatchOutcome:
        message = pb.SearchBatchRequest(queries=[to_message(query) for query in queries], snapshot=snapshot)
        try:
            found = self._stub.SearchBatch(message, metadata=_metadata(key), timeout=60)
        except grpc.RpcError as error:
            return BatchOutcome(code_of(error))
        results = [
            Outcome(result.problem.code) if result.HasField("problem") else read_answer(result, None)
            for result in found.results
        ]
        return BatchOutcome(None, found.snapshot, results)

    def list_products(self, listing: Query, key: str | None) -> Outcome:
        message = pb.ListProductsRequest(**{name: _to_field(name, value) for name, value in listing.items()})
        try:
            found = self._stub.ListProducts(message, metadata=_metadata(key), timeout=60)
        except grpc.RpcError as error:
            return Outcome(code_of(error))
        facets = {name: _read_facet(facet) for name, facet in found.facets.items()}
        products = [_read_product(product) for product in found.products]
        return Outcome(None, found.snapshot, products, facets or None, total=found.total)

    def suggest(self, typed: Query, key: str | None) -> Outcome:
        message = pb.SuggestRequest(**{name: _to_field(name, value) for name, value in typed.items()})
        try:
            found = self._stub.Suggest(message, metadata=_metadata(key), timeout=60)
        except grpc.RpcError as error:
            return Outcome(code_of(error))
        names = ("text", "word", "products")
        return Outcome(
            None, found.snapshot, [{name: getattr(one, name) for name in names} for one in found.suggestions]
        )

    def close(self) -> None:
        self._channel.close()


def _metadata(key: str | None) -> tuple[tuple[str, str], ...]:
    return () if key is None else (("authorization", f"Bearer {key}"),)


def code_of(error: grpc.RpcError) -> str:
    """Return our code of an error."""
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    assert status is not None, error
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "lookalike"
    return str(info.reason)


def to_message(query: Query) -> pb.SearchRequest:
    """Return a query as a message."""
    return pb.SearchRequest(**{name: _to_field(name, value) for name, value in query.items()})


def _to_field(name: str, value: Any) -> Any:
    if name == "vector":
        return pb.Vector(packed=value) if isinstance(value, bytes) else pb.Vector(values=value)
    if name == "crop":
        return pb.Crop(**dict(zip(("left", "top", "right", "bottom"), value, strict=True)))
    if name in {"positive", "negative"}:
        return [pb.Example(**{part: _to_field(part, inner) for part, inner in one.items()}) for one in value]
    if name == "filter":
        return [_to_filter(one) for one in value]
    return value


def _to_filter(given: Any) -> pb.Filter:
    if isinstance(given, str):
        return pb.Filter(text=given)
    condition = pb.Condition(attribute=given["attribute"], operator=given.get("operator"))
    if "value" in given:
        condition.value.CopyFrom(to_value(given["value"]))
    return pb.Filter(condition=condition)


def to_value(value: Any) -> pb.Value:
    """Return a value of a filter."""
    if value is None:
        return pb.Value(null_value=pb.NullValue())
    if isinstance(value, list):
        return pb.Value(list_value=pb.ListValue(values=[to_value(one) for one in value]))
    names = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}
    return pb.Value(**{names[type(value)]: value})


def from_value(value: pb.Value) -> Any:
    """Return a value as JSON has it."""
    kind = value.WhichOneof("kind")
    assert kind is not None
    if kind == "null_value":
        return None
    if kind == "list_value":
        return [from_value(one) for one in value.list_value.values]
    if kind == "map_value":
        return {name: from_value(one) for name, one in value.map_value.values.items()}
    return getattr(value, kind)


def read_answer(found: pb.SearchResponse | pb.SearchResult, snapshot: str | None) -> Outcome:
    facets = {name: _read_facet(facet) for name, facet in found.facets.items()}
    understood = (
        {
            "words": _read_matches(found.understood.words),
            "unknown": list(found.understood.unknown),
            "looks_like": [
                {"id": one.id, "title": one.title, "weight": one.weight} for one in found.understood.looks_like
            ],
            "colours": list(found.understood.colours),
        }
        if found.HasField("understood")
        else None
    )
    return Outcome(None, snapshot, [_read_hit(hit) for hit in found.hits], facets or None, understood, found.total)


def _read_matches(matches: Iterable[pb.Match]) -> list[dict[str, Any]]:
    return [{"word": match.word, "found": match.found, "how": match.how} for match in matches]


def _read_hit(hit: pb.Hit) -> dict[str, Any]:
    found: dict[str, Any] = {"id": hit.id}
    for name in ("title", "image_url", "score", "hidden"):
        if hit.HasField(name):
            found[name] = getattr(hit, name)
    if hit.attributes:
        found["attributes"] = {name: from_value(value) for name, value in hit.attributes.items()}
    if hit.HasField("why"):
        example = {"example": hit.why.example} if hit.why.HasField("example") else {}
        found["why"] = {"scores": dict(hit.why.scores), "words": _read_matches(hit.why.words), **example}
    return found


def _read_product(product: pb.Product) -> dict[str, Any]:
    attributes = {name: from_value(value) for name, value in product.attributes.items()}
    return {"id": product.id, "title": product.title, "attributes": attributes, "image_url": product.image_url}


def _read_facet(facet: pb.Facet) -> dict[str, Any]:
    found: dict[str, Any] = {
        "values": {one.value: one.count for one in facet.values}, "others": facet.others, "missing": facet.missing
    }  # fmt: skip
    if facet.HasField("min"):
        found |= {"min": from_value(facet.min), "max": from_value(facet.max)}
    return json_order(found)


def json_order(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object whose values come in the order in which they were sent."""
    loaded: dict[str, Any] = json.loads(json.dumps(found))
    return loaded
