"""Answers: products, hits, facets and snapshots as GraphQL has them, written as all gateways that write JSON do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import strawberry
from strawberry.scalars import JSON
from strawberry.types.nodes import FragmentSpread, InlineFragment, SelectedField, Selection

from lookalike.serving.graphql.inputs import OptionsInput, as_mapping
from lookalike.serving.graphql.operation import Operation
from lookalike.serving.query.options import HIT_FIELDS
from lookalike.serving.query.request import read_search
from lookalike.serving.replies import write_answer, write_facets
from lookalike.serving.search.facets import Facet as CountedFacet

_SIMILAR = "What looks like this product; those of one level are asked together."

Info = strawberry.Info[Operation, None]


async def search(info: Info, given: dict[str, Any]) -> SearchResult:
    """Answer a query as `SearchRequest` has it; what the caller selects says what is read of hits."""
    operation = info.context
    given.pop("snapshot", None)  # the plan has seen to it
    if given.get("fields") is None:
        given["fields"] = _hit_fields(info)
    query = read_search(given, operation.limits)
    answer = await operation.search(query)
    written = write_answer(query, answer, root=operation.root)
    hits = [Hit(**{**hit, "why": _make_why(hit.get("why"))}) for hit in written["hits"]]
    understood = _make_understood(written.get("understood"))
    return SearchResult(
        snapshot=answer.snapshot,
        total=answer.total,
        hits=hits,
        facets=make_facets(answer.facets),
        understood=understood,
    )


async def search_similar(info: Info, product: str, options: OptionsInput | None) -> SearchResult:
    """Answer what looks like a product."""
    return await search(info, {**(as_mapping(options) if options else {}), "product_id": product})


async def _similar_to_product(
    info: Info, parent: strawberry.Parent[Product], options: OptionsInput | None = None
) -> SearchResult | None:
    return await search_similar(info, parent.id, options)


async def _similar_to_hit(
    info: Info, parent: strawberry.Parent[Hit], options: OptionsInput | None = None
) -> SearchResult | None:
    return await search_similar(info, parent.id, options)


def _hit_fields(info: Info) -> list[str]:
    """Return the fields of hits that are selected; `score`, which costs nothing, where it is none but the id."""
    hits = [one for one in _fields_below(info.selected_fields) if one.name == "hits"]
    named = {field.name for hit in hits for field in _fields_below([hit])}
    return [name for name in HIT_FIELDS if name in named] or ["score"]


def _fields_below(nodes: Iterable[Selection]) -> Iterable[SelectedField]:
    for node in nodes:
        for inner in node.selections:
            if isinstance(inner, FragmentSpread | InlineFragment):
                yield from _fields_below([inner])
            else:
                yield inner


@strawberry.type(description="A product, as its catalogue wrote it.")
class Product:
    """See `ProductReply`."""

    id: strawberry.ID
    title: str
    attributes: JSON
    image_url: str
    pictures: int = strawberry.field(default=1, description="How many it has.")
    similar: SearchResult | None = strawberry.field(resolver=_similar_to_product, description=_SIMILAR)


@strawberry.type(description="A word of the query, and the word that products have for it.")
class Match:
    """See `MatchReply`."""

    word: str
    found: str
    how: str


@strawberry.type(description="A product whose picture stands for a text; `weight` is its share, 0 to 1.")
class Like:
    """See `LikeReply`."""

    id: strawberry.ID
    title: str
    weight: float


@strawberry.type(description="What the words of a query were taken for, and those that no product has.")
class Understood:
    """See `UnderstoodReply`."""

    words: list[Match]
    unknown: list[str]
    looks_like: list[Like] = strawberry.field(description="What a text looks like, where titles say it.")
    colours: list[str] = strawberry.field(description="The colours that the text names, if pictures are looked at.")


@strawberry.type(description="What a hit was found by.")
class Why:
    """See `WhyReply`."""

    scores: JSON
    words: list[Match]
    example: int | None = strawberry.field(
        default=None, description="The place of the nearest of several positive examples, from 0; none is a text."
    )


@strawberry.type(description="A product found; `score` is cosine similarity, higher is closer.")
class Hit:
    """See `HitReply`. What `fields` leaves out is null."""

    id: strawberry.ID
    title: str | None = None
    attributes: JSON | None = None
    image_url: str | None = None
    score: float | None = None
    hidden: int | None = strawberry.field(
        default=None, description="With `collapse`: how many other products of its group satisfy the filters."
    )
    why: Why | None = strawberry.field(default=None, description="With `explain`.")
    view: int | None = strawberry.field(
        default=None, description="Which of several pictures is the nearest, the first being 1."
    )
    similar: SearchResult | None = strawberry.field(resolver=_similar_to_hit, description=_SIMILAR)


@strawberry.type(description="A value of an attribute, and how many products have it.")
class FacetValue:
    """One value, as a filter takes it."""

    value: str
    count: int


@strawberry.type(description="The most frequent values of an attribute, 50 at most.")
class Facet:
    """See `FacetReply`."""

    name: str
    values: list[FacetValue]
    others: int = strawberry.field(description="How many other values there are.")
    missing: int = strawberry.field(description="How many products have none.")
    min: JSON | None = strawberry.field(default=None, description="For numbers, dates and times.")
    max: JSON | None = strawberry.field(default=None, description="For numbers, dates and times.")


@strawberry.type(description="Hits, best first.")
class SearchResult:
    """See `SearchReply`."""

    snapshot: str
    total: int = strawberry.field(description="How many products satisfy the filters, however close they are.")
    hits: list[Hit]
    facets: list[Facet]
    understood: Understood | None = strawberry.field(default=None, description="With `text` and `explain`.")


@strawberry.type(description="Some products.")
class ProductsResult:
    """See `ProductsReply`."""

    total: int
    products: list[Product]


@strawberry.type(description="What a text may become, its last word, and how many products have that.")
class Suggestion:
    """See `CompletionReply`."""

    text: str
    word: str
    products: int


@strawberry.type(description="The encoder; vectors of others cannot be compared.")
class Encoder:
    """See `EncoderReply`."""

    name: str
    fingerprint: str
    dimension: int


@strawberry.type(description="An attribute to filter by; `values` has counts where there are only a few values.")
class Attribute:
    """See `AttributeReply`."""

    name: str
    type: str
    values: JSON | None


@strawberry.type(description="The snapshot that this operation is answered from.")
class Snapshot:
    """See `SnapshotReply`."""

    id: str
    created_at: str
    products: int
    attribution: str
    encoder: Encoder
    index: JSON
    quality: JSON
    parent: str | None
    channel: JSON
    attributes: list[Attribute]


@strawberry.type(description="A snapshot in memory: `serving`, or `retiring` while it answers those who name it.")
class LoadedSnapshot:
    """See `HeldReply`."""

    id: str
    state: str
    since: str
    queries: int
    products: int


def _make_why(written: Mapping[str, Any] | None) -> Why | None:
    return None if written is None else Why(**{**written, "words": _make_matches(written["words"])})


def _make_understood(written: Mapping[str, Any] | None) -> Understood | None:
    if written is None:
        return None
    likes = [Like(**{**like, "id": strawberry.ID(like["id"])}) for like in written.get("looks_like", ())]
    words, colours = _make_matches(written["words"]), list(written.get("colours", ()))
    return Understood(words=words, unknown=written["unknown"], looks_like=likes, colours=colours)


def _make_matches(written: Iterable[Mapping[str, str]]) -> list[Match]:
    return [Match(**match) for match in written]


def make_facets(counted: Mapping[str, CountedFacet]) -> list[Facet]:
    """Return facets with their values as a list: names of fields are not a catalogue's to make."""
    return [
        Facet(
            name=name,
            values=[FacetValue(value=value, count=count) for value, count in facet["values"].items()],
            others=facet["others"],
            missing=facet["missing"],
            min=facet.get("min"),
            max=facet.get("max"),
        )
        for name, facet in write_facets(counted).items()
    ]
