"""Addresses of products: ids hold `/`, spaces and any letter, and still each has one address."""

from __future__ import annotations

from urllib.parse import quote

PRODUCTS = "/v1/products"


def product_path(product: str, part: str = "") -> tuple[str, dict[str, str]]:
    """Return the path of a product or of its part (`image`), percent-encoded, and what its query must say."""
    tail = f"/{part}" if part else ""
    if product in {".", ".."}:  # each client and proxy resolves these segments, percent-encoded ones too
        return f"{PRODUCTS}/_{tail}", {"id": product}
    # Plain slashes stay: some proxies refuse %2F. Empty and dotted segments would be "tidied" by others.
    tidied = any(segment in {"", ".", ".."} for segment in product.split("/"))
    hidden = not part and product.endswith(("/similar", "/image"))
    return f"{PRODUCTS}/{quote(product, safe='' if tidied or hidden else '/')}{tail}", {}
