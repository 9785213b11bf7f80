"""Inputs: queries as GraphQL has them. Their fields are those of `SearchRequest`, and what reads them is the same.

Names are as in all gateways, so that a problem's sentence names what the caller wrote. What may be text or an object,
and what is long, is a scalar that is checked where all gateways are checked, not item by item.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from lookalike.serving.query.request import SearchRequest

Filter = NewType("Filter", object)
Vector = NewType("Vector", object)
Weights = NewType("Weights", object)

SCALARS: dict[object, ScalarDefinition] = {
    Filter: strawberry.scalar(
        name="Filter",
        description="A condition: a text such as `price<=50`, or an object with `attribute`, `operator` and `value`.",
    ),
    Vector: strawberry.scalar(name="Vector", description="A list of numbers."),
    Weights: strawberry.scalar(
        name="Weights", description="An object such as `{picture: 1, words: 0.5}`, or texts such as `words=0.5`."
    ),
}


def _option(name: str) -> Any:
    return strawberry.field(default=strawberry.UNSET, description=SearchRequest.model_fields[name].description)


@strawberry.input(description="A picture, a product, a vector or a text: exactly one of them.")
class ExampleInput:
    """See `ExampleRequest`."""

    image: str | None = _option("image")
    url: str | None = _option("url")
    product_id: str | None = _option("product_id")
    vector: Vector | None = _option("vector")
    text: str | None = _option("text")
    weight: float | None = _option("weight")
    crop: list[float] | None = _option("crop")


@strawberry.input(description="How hits are chosen.")
class OptionsInput:
    """See `QueryOptions`."""

    k: int | None = _option("k")
    offset: int | None = _option("offset")
    filter: list[Filter] | None = _option("filter")
    min_score: float | None = _option("min_score")
    group_by: str | None = _option("group_by")
    collapse: str | None = _option("collapse")
    combine: str | None = _option("combine")
    weights: Weights | None = _option("weights")
    explain: bool | None = _option("explain")
    facets: list[str] | None = _option("facets")
    facets_of: str | None = _option("facets_of")
    fields: list[str] | None = _option("fields")
    sort: str | None = _option("sort")
    reach: int | None = _option("reach")
    snapshot: str | None = _option("snapshot")


@strawberry.input(description="What is searched for, and how hits are chosen.")
class SearchInput(OptionsInput, ExampleInput):
    """See `SearchRequest`."""

    positive: list[ExampleInput] | None = _option("positive")
    negative: list[ExampleInput] | None = _option("negative")
    negative_weight: float | None = _option("negative_weight")


def as_mapping(given: ExampleInput | OptionsInput) -> dict[str, Any]:
    """Return what was sent, with the names of `SearchRequest`."""
    sent = {one.name: getattr(given, one.name) for one in fields(given)}
    return {name: _plain(value) for name, value in sent.items() if value is not strawberry.UNSET}


def _plain(value: Any) -> Any:
    if isinstance(value, ExampleInput):
        return as_mapping(value)
    return [_plain(one) for one in value] if isinstance(value, list) and value and not _is_number(value[0]) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
