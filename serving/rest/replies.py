"""Replies: answers as JSON, written without a detour through the models that describe them."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from data.products import Product
from serving.addresses import product_path
from serving.facets import Facet
from serving.fields import Fields
from serving.ranking import shown
from tasks.searcher import Hit


def reply(content: BaseModel | Mapping[str, Any], status: int = 200) -> Response:
    """Return a model, or what one describes, as a response: past FastAPI's second validation of it."""
    return sent(encoded(content), status)


def encoded(content: BaseModel | Mapping[str, Any]) -> bytes:
    """Return a model, or what one describes, as JSON."""
    return to_json(content, inf_nan_mode="null")


def encoded_with(content: Mapping[str, Any], name: str, items: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the same with a list under `name`, written item by item: while one is, no other thread has its turn."""
    return encoded(content)[:-1] + b',"%s":[%s]}' % (name.encode(), b",".join(encoded(item) for item in items))


def sent(body: bytes, status: int = 200) -> Response:
    """Return JSON as a response."""
    return Response(body, status_code=status, media_type="application/json")


def write_product(product: Product) -> dict[str, Any]:
    """Return a product as `ProductReply` describes it."""
    return {
        "id": product.id,
        "title": product.title,
        "attributes": {name: plain(value) for name, value in product.attributes.items()},
        "image_url": product_path(product.id, "image"),
    }


def write_hits(hits: Sequence[Hit], hidden: Sequence[int] | None, fields: Fields | None = None) -> list[dict[str, Any]]:
    """Return hits as `HitReply` describes them; `hidden` where duplicates are collapsed."""
    written = [{**write_product(hit.product), "score": shown(hit.score)} for hit in hits]
    if fields is not None:
        written = [fields.of(whole) for whole in written]
    if hidden is not None:
        written = [{**hit, "hidden": count} for hit, count in zip(written, hidden, strict=True)]
    return written


def write_facets(facets: Mapping[str, Facet]) -> dict[str, dict[str, Any]]:
    """Return facets as `FacetReply` describes them."""
    return {name: _facet(facet) for name, facet in facets.items()}


def _facet(facet: Facet) -> dict[str, Any]:
    found = {"values": facet.values, "others": facet.others, "missing": facet.missing}
    return found if facet.low is None or facet.high is None else {**found, "min": facet.low, "max": facet.high}


def plain(value: Any) -> Any:  # noqa: PLR0911 - one for each kind
    """Return an attribute's value as JSON has it: Parquet knows more types, and JSON no NaN."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return str(value)
