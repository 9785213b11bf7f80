"""The schema: what can be asked. Resolvers translate; what they ask is what all gateways ask."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import strawberry
from graphql import DocumentNode, GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from lookalike.serving.errors import ProblemError
from lookalike.serving.graphql.answers import (
    Attribute,
    Encoder,
    Facet,
    Info,
    LoadedSnapshot,
    Product,
    ProductsResult,
    SearchResult,
    Snapshot,
    Suggestion,
    make_facets,
    search,
    search_similar,
)
from lookalike.serving.graphql.inputs import SCALARS, Filter, OptionsInput, SearchInput, as_mapping
from lookalike.serving.graphql.plan import DEFAULT_LIMIT
from lookalike.serving.live.loaded import LoadedSnapshot as Loaded
from lookalike.serving.query.listing import MAX_LISTED, read_listing
from lookalike.serving.query.options import QueryOptions
from lookalike.serving.replies import write_held, write_product, write_snapshot
from lookalike.serving.search.lookup import check_lookup
from lookalike.serving.search.suggestions import SUGGESTED


async def _search(info: Info, query: SearchInput) -> SearchResult | None:
    return await search(info, as_mapping(query))


async def _similar(info: Info, id: strawberry.ID, options: OptionsInput | None = None) -> SearchResult | None:  # noqa: A002
    return await search_similar(info, id, options)


async def _product(info: Info, id: strawberry.ID) -> Product | None:  # noqa: A002 - the name in all gateways
    return _take(info, [info.context.loaded.searcher.products.row(id)])[0]


async def _products_by_id(info: Info, ids: list[strawberry.ID]) -> list[Product | None] | None:
    if len(ids) > MAX_LISTED:
        raise ProblemError("bad_field", f"`ids` has {len(ids)} ids: send {MAX_LISTED} at most.")
    products = info.context.loaded.searcher.products
    known = [one for one in ids if products.has(one)]
    found = dict(zip(known, _take(info, [products.row(one) for one in known]), strict=True))
    return [found.get(one) for one in ids]


async def _products(
    info: Info,
    limit: int = DEFAULT_LIMIT,
    offset: int = 0,
    filter: list[Filter] | None = None,  # noqa: A002
    find: str | None = None,
    sort: str | None = None,
) -> ProductsResult | None:
    options = _read_listing(info, {"limit": limit, "offset": offset, "filter": filter, "sort": sort})
    found = await info.context.runtime.service.products(options, check_lookup(find))
    return ProductsResult(total=found.total, products=[_write(info, product) for product in found.products])


async def _facets(
    info: Info,
    names: list[str],
    filter: list[Filter] | None = None,  # noqa: A002
    find: str | None = None,
    facets_of: str | None = None,
) -> list[Facet] | None:
    options = _read_listing(info, {"facets": names, "filter": filter, "facets_of": facets_of})
    none_shown = options.model_copy(update={"k": 0})
    found = await info.context.runtime.service.products(none_shown, check_lookup(find))
    return make_facets(found.facets)


def _read_listing(info: Info, given: dict[str, Any]) -> QueryOptions:
    operation = info.context
    return read_listing({**given, "snapshot": operation.snapshot}, operation.limits)


async def _suggest(
    info: Info,
    text: str,
    limit: int = SUGGESTED,
    filter: list[Filter] | None = None,  # noqa: A002
) -> list[Suggestion] | None:
    options = _read_listing(info, {"filter": filter})
    _, completions = await info.context.runtime.service.suggest(text, limit, options)
    return [Suggestion(text=one.text, word=one.word, products=one.products) for one in completions]


async def _snapshot(info: Info) -> Snapshot | None:
    return _write_snapshot(info, info.context.loaded)


def _write_snapshot(info: Info, loaded: Loaded) -> Snapshot:
    written = write_snapshot(loaded, info.context.runtime.settings.channel)
    attributes = [Attribute(name=name, **one) for name, one in written.pop("attributes").items()]
    written["channel"]["moved_at"] = _iso(written["channel"]["moved_at"])
    written["created_at"] = _iso(written["created_at"])
    return Snapshot(**{**written, "encoder": Encoder(**written["encoder"])}, attributes=attributes)


async def _snapshots(info: Info) -> list[LoadedSnapshot]:
    follower = info.context.runtime.follower
    held = [write_held(one, is_served=one is follower.current) for one in follower.loaded]
    return [LoadedSnapshot(**{**one, "since": _iso(one["since"])}) for one in held]


# What can fail is null where it did: else one wrong search would cost the others their answers.
@strawberry.type(description="What can be followed, over a WebSocket with the protocol graphql-transport-ws.")
class Subscription:
    """What can be followed."""

    @strawberry.subscription(  # type: ignore[untyped-decorator]
        description="Get the snapshot that is served, and each one that takes its place."
    )
    async def snapshotChanged(self, info: Info) -> AsyncGenerator[Snapshot, None]:  # noqa: N802 - as clients know it
        """Yield the last one where several came at a time."""
        follower, known = info.context.runtime.follower, None
        while True:
            if follower.current is None or follower.current.manifest.id == known:
                await follower.wait_for_swap()
            with follower.lease() as loaded:
                known = loaded.manifest.id
                found = _write_snapshot(info, loaded)
            yield found


@strawberry.type(description="What can be asked; all of one operation is answered from one snapshot.")
class Query:
    """What can be asked."""

    search: SearchResult | None = strawberry.field(
        resolver=_search, description="Find products that look like a picture, a product, a vector, or several of them."
    )
    similar: SearchResult | None = strawberry.field(resolver=_similar, description="Find what looks like a product.")
    product: Product | None = strawberry.field(resolver=_product, description="Get a product.")
    products_by_id: list[Product | None] | None = strawberry.field(
        resolver=_products_by_id, description="Get several products, null for each that is not there; 100 at most."
    )
    products: ProductsResult | None = strawberry.field(
        resolver=_products,
        description="List some products: looked up, sorted, or as mixed as a shuffled deck.",
    )
    facets: list[Facet] | None = strawberry.field(
        resolver=_facets, description="Count the values of attributes among products that satisfy the filters."
    )
    suggest: list[Suggestion] | None = strawberry.field(
        resolver=_suggest,
        description="Complete or correct the last word of a text: what most products have comes first.",
    )
    snapshot: Snapshot | None = strawberry.field(
        resolver=_snapshot, description="Get the snapshot that this operation is answered from."
    )
    snapshots: list[LoadedSnapshot] = strawberry.field(
        resolver=_snapshots, description="List the snapshots in memory, the one that is served first."
    )


def _take(info: Info, rows: list[int]) -> list[Product]:
    operation = info.context
    found = operation.loaded.searcher.products.take(rows, check=operation.room.take)
    return [_write(info, product) for product in found]


def _write(info: Info, product: Any) -> Product:
    return Product(**write_product(product, info.context.root))


def _iso(moment: datetime) -> str:
    return moment.isoformat()


class _Prepared(SchemaExtension):
    """Hands on what was parsed and validated before, so that neither is done twice."""

    def on_operation(self) -> Any:
        self.execution_context.graphql_document = _document_of(self.execution_context)
        self.execution_context.validation_rules = ()
        yield


def _document_of(execution: ExecutionContext) -> DocumentNode:
    document = execution.root_value
    assert isinstance(document, DocumentNode)  # noqa: S101 - nobody else executes this schema
    return document


class Schema(strawberry.Schema):
    """Strawberry's, whose errors are logged where they are explained, and not a second time."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing: an error may quote what a caller sent."""


def make_schema() -> Schema:
    """Return the schema."""
    config = StrawberryConfig(auto_camel_case=False, scalar_map=SCALARS)
    return Schema(Query, subscription=Subscription, config=config, extensions=[_Prepared])
