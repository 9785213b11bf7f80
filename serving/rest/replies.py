"""Replies: answers as JSON, written without a detour through the models that describe them.

Addresses of products: ids hold `/`, spaces and any letter, and still each has one address.

Pictures by their first bytes: the content type that a browser may see.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from lookalike.data.snapshots.products import Product
from lookalike.serving.search.facets import Facet
from lookalike.serving.search.options import HitFields
from lookalike.serving.search.query import round_score
from lookalike.tasks.search.searcher import Hit

PRODUCTS = "/v1/products"
ANY = "_"
"""Stands in a path for a product whose id is in the query, as `?id=`."""

NOT_STORED = {"cache-control": "no-store"}
"""What is answered belongs to one caller and one snapshot: no cache on the way may keep it."""

_TYPES = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"II\*\0|MM\0\*"), "image/tiff"),
    (re.compile(rb"BM"), "image/bmp"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "image/avif"),
)


def product_path(product: str, part: str = "") -> str:
    """Return the path of a product, or of a part of it (`similar`, `image`), from the server's root."""
    if product in {".", ".."}:  # each client resolves these segments, percent-encoded ones too
        return f"{PRODUCTS}/{ANY}{f'/{part}' if part else ''}?id={product}"
    # Plain slashes stay: some proxies refuse %2F. Empty and dotted segments would be "tidied" by others.
    tidied = any(segment in {"", ".", ".."} for segment in product.split("/"))
    hidden = not part and product.endswith(("/similar", "/image"))
    encoded = quote(product, safe="" if tidied or hidden else "/")
    return f"{PRODUCTS}/{encoded}/{part}" if part else f"{PRODUCTS}/{encoded}"


class _ProductConvertor(Convertor[str]):
    """An id in a path: any letters, line ends too."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("product", _ProductConvertor())


class PartRoute(APIRoute):
    """A route whose last segment is literal: the product `a/image` is at `a%2Fimage`, the picture of `a` at `a/image`.

    Servers decode a path before it is matched, so that both look alike; only the raw path tells.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as ever, unless the literal segment was part of an encoded id."""
        part = self.path.rsplit("/", 1)[1]
        raw: Any = scope.get("raw_path")
        if raw and not raw.partition(b"?")[0].endswith(f"/{part}".encode()):
            return Match.NONE, {}
        return super().matches(scope)


def content_type(data: bytes) -> str | None:
    """Return the type of a picture, None for anything that is not surely one: no HTML, no SVG with scripts."""
    return next((name for pattern, name in _TYPES if pattern.match(data)), None)


def reply(content: BaseModel | Mapping[str, Any], status: int = 200) -> Response:
    """Return a model, or what one describes, as a response: past FastAPI's second validation of it."""
    return respond_json(encode(content), status)


def encode(content: BaseModel | Mapping[str, Any]) -> bytes:
    """Return a model, or what one describes, as JSON."""
    return to_json(content, inf_nan_mode="null")


def encode_with(content: Mapping[str, Any], name: str, items: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the same with a list under `name`, written item by item: while one is, no other thread has its turn."""
    return encode(content)[:-1] + b',"%s":[%s]}' % (name.encode(), b",".join(encode(item) for item in items))


def respond_json(body: bytes, status: int = 200) -> Response:
    """Return JSON as a response."""
    return Response(body, status_code=status, media_type="application/json", headers=NOT_STORED)


def write_product(product: Product, root: str) -> dict[str, Any]:
    """Return a product as `ProductReply` describes it; `root` is the path below which this server is."""
    return {
        "id": product.id,
        "title": product.title,
        "attributes": {name: to_json_value(value) for name, value in product.attributes.items()},
        "image_url": root + product_path(product.id, "image"),
    }


def write_hits(
    hits: Sequence[Hit], hidden: Sequence[int] | None, fields: HitFields | None = None, *, root: str = ""
) -> list[dict[str, Any]]:
    """Return hits as `HitReply` describes them; `hidden` where duplicates are collapsed."""
    written = [{**write_product(hit.product, root), "score": round_score(hit.score)} for hit in hits]
    if fields is not None:
        written = [fields.select(whole) for whole in written]
    if hidden is not None:
        written = [{**hit, "hidden": count} for hit, count in zip(written, hidden, strict=True)]
    return written


def write_facets(facets: Mapping[str, Facet]) -> dict[str, dict[str, Any]]:
    """Return facets as `FacetReply` describes them."""
    return {name: _write_facet(facet) for name, facet in facets.items()}


def _write_facet(facet: Facet) -> dict[str, Any]:
    found = {"values": facet.values, "others": facet.others, "missing": facet.missing}
    return found if facet.low is None or facet.high is None else {**found, "min": facet.low, "max": facet.high}


def to_json_value(value: Any) -> Any:  # noqa: PLR0911 - one for each kind
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
        return {str(name): to_json_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(inner) for inner in value]
    return str(value)
