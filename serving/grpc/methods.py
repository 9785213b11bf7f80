"""The methods of the service: each reads its message, asks the core, and writes the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lookalike.serving.access.admission import Operation
from lookalike.serving.context import RequestContext
from lookalike.serving.errors import ProblemError
from lookalike.serving.grpc import replies
from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.requests import parse, read_fields
from lookalike.serving.query.embed_request import read_pictures
from lookalike.serving.query.listing import read_listing
from lookalike.serving.query.request import Batch, read_queries, read_search
from lookalike.serving.runtime import Runtime
from lookalike.serving.search.answers import Answer
from lookalike.serving.search.lookup import check_lookup
from lookalike.serving.search.suggestions import SUGGESTED
from lookalike.serving.settings import Limits

SERVICE = "lookalike.v1.LookalikeService"
MARGIN = 0.05
"""Share of a request's time that a batch keeps for its reply: queries without an answer by then get an error."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method that takes one message and returns one.

    `answer` is given the message's bytes and returns those of the reply. It may change nothing of the request.
    """

    name: str
    answer: Callable[[Runtime, RequestContext, bytes], Awaitable[bytes]]
    operation: Operation = Operation.SEARCH


async def _search(runtime: Runtime, asked: RequestContext, data: bytes) -> bytes:
    query = read_search(read_fields(await parse(pb.SearchRequest, data)), runtime.settings.limits)
    answer = await runtime.service.search(query, deadline=asked.deadline)
    root = runtime.settings.root_path
    return await runtime.service.write(
        lambda: replies.write_search(query, answer, asked, root).SerializeToString(), hits=len(answer.hits)
    )


async def _search_batch(runtime: Runtime, asked: RequestContext, data: bytes) -> bytes:
    batch = _read_batch(await parse(pb.SearchBatchRequest, data), runtime.settings.limits)
    runtime.admission.charge(asked, len(batch.queries) - 1)
    deadline = asked.deadline - MARGIN * runtime.settings.limits.request_seconds
    found = await runtime.service.search_all(batch.queries, batch.snapshot, deadline=deadline)
    root = runtime.settings.root_path
    hits = sum(len(answer.hits) for answer in found.answers if isinstance(answer, Answer))
    return await runtime.service.write(
        lambda: replies.write_batch(batch, found, asked, root).SerializeToString(), hits=hits
    )


def _read_batch(message: pb.SearchBatchRequest, limits: Limits) -> Batch:
    """Return the queries of a batch; what is wrong with one is the answer to that one. Raises `ProblemError`."""
    faults: dict[int, ProblemError] = {}
    queries: list[dict[str, Any]] = []
    for place, query in enumerate(message.queries):
        try:
            queries.append(read_fields(query))
        except ProblemError as problem:
            faults[place] = problem
            queries.append({})
    snapshot = message.snapshot if message.HasField("snapshot") else None
    batch = read_queries({"queries": queries, "snapshot": snapshot}, limits)
    return replace(batch, queries=tuple(faults.get(place, query) for place, query in enumerate(batch.queries)))


async def _embed(runtime: Runtime, asked: RequestContext, data: bytes) -> bytes:
    query = read_pictures({"images": [], **read_fields(await parse(pb.EmbedRequest, data))}, runtime.settings.limits)
    runtime.admission.charge(asked, len(query.pictures) - 1)
    deadline = asked.deadline - MARGIN * runtime.settings.limits.request_seconds
    found = await runtime.service.embed(query, deadline=deadline)
    return replies.write_embeddings(found, asked).SerializeToString()


async def _get_product(runtime: Runtime, _: RequestContext, data: bytes) -> bytes:
    snapshot, product = await runtime.service.product((await parse(pb.GetProductRequest, data)).id)
    written = replies.write_product(product, runtime.settings.root_path)
    return pb.GetProductResponse(snapshot=snapshot, product=written).SerializeToString()


async def _list_products(runtime: Runtime, _: RequestContext, data: bytes) -> bytes:
    given = read_fields(await parse(pb.ListProductsRequest, data))
    options = read_listing(given, runtime.settings.limits)
    listing = await runtime.service.products(options, check_lookup(given.get("find")))
    return replies.write_listing(listing, runtime.settings.root_path).SerializeToString()


async def _suggest(runtime: Runtime, _: RequestContext, data: bytes) -> bytes:
    given = read_fields(await parse(pb.SuggestRequest, data))
    options = read_listing({name: given.get(name) for name in ("filter", "snapshot")}, runtime.settings.limits)
    found, completions = await runtime.service.suggest(given.get("text", ""), given.get("limit", SUGGESTED), options)
    return replies.write_suggestions(found, completions).SerializeToString()


async def _current_snapshot(runtime: Runtime, _: RequestContext, data: bytes) -> bytes:
    await parse(pb.CurrentSnapshotRequest, data)
    with runtime.follower.lease() as loaded:
        return replies.write_current(loaded, runtime.settings.channel).SerializeToString()


async def _list_snapshots(runtime: Runtime, _: RequestContext, data: bytes) -> bytes:
    await parse(pb.ListSnapshotsRequest, data)
    return replies.write_all_held(runtime.follower.loaded, runtime.follower.current).SerializeToString()


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(f"/{SERVICE}/{name}", answer)
        for name, answer in {
            "Search": _search,
            "SearchBatch": _search_batch,
            "Embed": _embed,
            "GetProduct": _get_product,
            "ListProducts": _list_products,
            "Suggest": _suggest,
            "CurrentSnapshot": _current_snapshot,
            "ListSnapshots": _list_snapshots,
        }.items()
    )
}
"""All of them, by their paths."""
