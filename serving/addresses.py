"""Addresses of products: ids hold `/`, spaces and any letter, and still each has one address."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

PRODUCTS = "/v1/products"


def product_path(product: str, part: str = "") -> str:
    """Return the path of a product, or of a part of it (`similar`, `image`), from the server's root."""
    # Plain slashes stay: some proxies refuse %2F. Empty and dotted segments would be "tidied" by others.
    tidied = any(segment in {"", ".", ".."} for segment in product.split("/"))
    hidden = not part and product.endswith(("/similar", "/image"))
    encoded = quote(product, safe="" if tidied or hidden else "/")
    return f"{PRODUCTS}/{encoded}/{part}" if part else f"{PRODUCTS}/{encoded}"


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
